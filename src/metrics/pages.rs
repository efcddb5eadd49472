//! What is served over HTTP: `/metrics`, `/healthz`, and a page that names them.

use std::sync::Arc;

use super::collector::MetricsCollector;
use super::http::{Request, Respond, Response};
use super::prometheus;

/// Everything that is wrong with the recorder, a line each; empty where all is well.
pub type Problems = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The pages of a recorder.
#[must_use]
pub fn pages(collector: Arc<MetricsCollector>, problems: Problems) -> Respond {
    Arc::new(move |request: &Request| match request.path.as_str() {
        "/metrics" => Response {
            status: 200,
            content_type: prometheus::CONTENT_TYPE,
            body: prometheus::render(&collector.collect()),
        },
        "/healthz" => health(&problems()),
        "/" => Response::text(200, "/metrics\n/healthz\n"),
        _ => Response::text(404, "this serves /metrics and /healthz\n"),
    })
}

fn health(problems: &[String]) -> Response {
    if problems.is_empty() {
        return Response::text(200, "ok\n");
    }
    let lines = problems.iter().map(|problem| problem.replace(['\n', '\r'], " ") + "\n");
    Response::text(503, lines.collect::<String>())
}
