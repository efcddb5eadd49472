//! Writes small models in the ONNX format, byte by byte: enough of its protobuf for what tests need.

/// A message of protobuf.
#[derive(Default, Clone)]
pub struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn number(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    pub fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// Types of numbers.
pub const FLOAT: i64 = 1;
pub const INT64: i64 = 7;
pub const FLOAT16: i64 = 10;

/// A graph that grows.
#[derive(Default, Clone)]
pub struct Graph(Message);

impl Graph {
    fn add(&mut self, field: u64, message: &Message) {
        self.0 = std::mem::take(&mut self.0).message(field, message);
    }

    fn value(name: &str, kind: i64, shape: &[i64]) -> Message {
        let dimension = |size: &i64| match size {
            size if *size < 0 => Message::default().text(2, "any"),
            size => Message::default().number(1, *size),
        };
        let shape =
            shape.iter().fold(Message::default(), |shape, size| shape.message(1, &dimension(size)));
        let tensor = Message::default().number(1, kind).message(2, &shape);
        Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
    }

    pub fn input(mut self, name: &str, kind: i64, shape: &[i64]) -> Self {
        self.add(11, &Self::value(name, kind, shape));
        self
    }

    pub fn output(mut self, name: &str, kind: i64, shape: &[i64]) -> Self {
        self.add(12, &Self::value(name, kind, shape));
        self
    }

    fn constant(&mut self, name: &str, kind: i64, shape: &[i64], raw: &[u8]) {
        let tensor = shape.iter().fold(Message::default(), |tensor, size| tensor.number(1, *size));
        self.add(5, &tensor.number(2, kind).text(8, name).bytes(9, raw));
    }

    pub fn floats(mut self, name: &str, shape: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, FLOAT, shape, &raw);
        self
    }

    pub fn integers(mut self, name: &str, values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, INT64, &[values.len() as i64], &raw);
        self
    }

    /// A node with attributes that are lists of whole numbers, or one such number.
    pub fn node(
        mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        lists: &[(&str, &[i64])],
        number: Option<(&str, i64)>,
    ) -> Self {
        let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        let mut node = node.text(2, output).text(3, output).text(4, operator);
        for (name, values) in lists {
            let list = values
                .iter()
                .fold(Message::default().text(1, name), |list, value| list.number(8, *value));
            node = node.message(5, &list.number(20, 7));
        }
        if let Some((name, value)) = number {
            node =
                node.message(5, &Message::default().text(1, name).number(3, value).number(20, 2));
        }
        self.add(1, &node);
        self
    }

    /// The bytes of a model file.
    pub fn model(self) -> Vec<u8> {
        let graph = self.0.text(2, "test");
        let opset = Message::default().text(1, "").number(2, 13);
        Message::default().number(1, 8).text(2, "test").message(7, &graph).message(8, &opset).0
    }
}

/// Side of the input of [`color_finder`].
pub const SIDE: i64 = 64;

/// A model of the YOLOv8 layout that finds squares of 16 by 16 pixels which are red (class 0) or blue (class 1), where
/// they lie on the grid of that size.
pub fn color_finder() -> Graph {
    let cells = |stride: i64| (SIDE / stride) * (SIDE / stride);
    let anchors = cells(8) + cells(16) + cells(32);
    let mut boxes = vec![Vec::new(); 4];
    for stride in [8, 16, 32] {
        for cell in 0..cells(stride) {
            let middle = |index: i64| (index * stride + stride / 2) as f32;
            boxes[0].push(middle(cell % (SIDE / stride)));
            boxes[1].push(middle(cell / (SIDE / stride)));
            boxes[2].push(stride as f32);
            boxes[3].push(stride as f32);
        }
    }
    // Only the middle grid is believed.
    let middle = cells(8)..cells(8) + cells(16);
    let believed: Vec<f32> =
        (0..anchors).map(|anchor| f32::from(u8::from(middle.contains(&anchor)))).collect();
    let pool = |graph: Graph, stride: i64| {
        let (pooled, flat) = (format!("pooled{stride}"), format!("flat{stride}"));
        let (shape, sides) = (format!("shape{stride}"), [stride, stride]);
        graph
            .node(
                "AveragePool",
                &["wanted"],
                &pooled,
                &[("kernel_shape", &sides), ("strides", &sides)],
                None,
            )
            .integers(&shape, &[1, 2, cells(stride)])
            .node("Reshape", &[&pooled, &shape], &flat, &[], None)
    };
    // Red without blue, and blue without red.
    let weights = [1.0, 0.0, -1.0, -1.0, 0.0, 1.0];
    let graph = Graph::default()
        .input("images", FLOAT, &[1, 3, SIDE, SIDE])
        .floats("weights", &[2, 3, 1, 1], &weights)
        .node("Conv", &["images", "weights"], "colors", &[("kernel_shape", &[1, 1])], None)
        .node("Relu", &["colors"], "wanted", &[], None);
    let graph = [8, 16, 32].into_iter().fold(graph, pool);
    graph
        .node("Concat", &["flat8", "flat16", "flat32"], "all", &[], Some(("axis", 2)))
        .floats("believed", &[1, 1, anchors], &believed)
        .node("Mul", &["all", "believed"], "scores", &[], None)
        .floats("boxes", &[1, 4, anchors], &boxes.concat())
        .node("Concat", &["boxes", "scores"], "output0", &[], Some(("axis", 1)))
        .output("output0", FLOAT, &[1, 6, anchors])
}

/// A model that has these values for an output, whatever it is asked.
pub fn outputs_of(input: (i64, &[i64]), output: (&str, &[i64])) -> Graph {
    let count: i64 = output.1.iter().map(|size| size.abs()).product();
    Graph::default()
        .input("images", input.0, input.1)
        .floats("none", &[1], &[0.0])
        .floats("values", output.1, &vec![0.0; usize::try_from(count).unwrap()])
        .node("ReduceMean", &["images"], "mean", &[], Some(("keepdims", 1)))
        .integers("one", &[1])
        .node("Reshape", &["mean", "one"], "flat", &[], None)
        .node("Mul", &["flat", "none"], "zero", &[], None)
        .node("Add", &["values", "zero"], output.0, &[], None)
        .output(output.0, FLOAT, output.1)
}
