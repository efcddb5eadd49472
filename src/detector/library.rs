//! Opens a libonnxruntime at run time. The only place of the detector with unsafe code.

#![expect(
    unsafe_code,
    reason = "a library is loaded by its path and called through its C interface"
)]

use std::ffi::CStr;
use std::path::Path;

use libloading::{Library, Symbol};
use ort::sys::{ORT_API_VERSION, OrtApi, OrtApiBase};

/// The interface of the library at `path` in the version that is needed, and the library's own version.
///
/// The library stays loaded until the process ends.
///
/// # Errors
///
/// Why it cannot be used, in words for an operator.
pub(super) fn open(path: &Path) -> Result<(OrtApi, String), String> {
    // SAFETY: loading runs the library's initialisers. Which library that is, the operator says by the path in the
    // configuration, as with any program that is installed; the process it is loaded into does nothing else.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    // It is never unloaded: what it hands out lives as long as the process.
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: a libonnxruntime of any version exports this function with this type; nothing else does.
    let base: Result<Symbol<'_, unsafe extern "system" fn() -> *const OrtApiBase>, _> =
        unsafe { library.get(b"OrtGetApiBase\0") };
    let base =
        base.map_err(|_| "it is no libonnxruntime: it exports no OrtGetApiBase".to_owned())?;
    // SAFETY: it takes nothing and returns a pointer to a constant of the library, or null.
    let base = unsafe { base().as_ref() };
    let base =
        base.ok_or("it is no libonnxruntime that can be used: OrtGetApiBase gives nothing")?;
    // SAFETY: both functions are there in every version; the text is a constant that ends with a zero.
    let (api, version) =
        unsafe { ((base.GetApi)(ORT_API_VERSION), CStr::from_ptr((base.GetVersionString)())) };
    let version = version.to_string_lossy().into_owned();
    // SAFETY: not null, it is a table of at least the functions of the version that was asked for.
    match unsafe { api.as_ref() } {
        Some(api) => Ok((api.clone(), version)),
        None => {
            Err(format!("it is libonnxruntime {version}; 1.{ORT_API_VERSION} or newer is needed"))
        }
    }
}
