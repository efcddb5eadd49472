//! The kernel's video4linux2 structures (`linux/videodev2.h`), generated once and cut to what the crate `v4l` uses.
//!
//! The crate that `v4l` depends on for them runs bindgen, and so libclang, at every build. This one stands in for it
//! through `[patch.crates-io]`: same name, same items, no build script. The kernel never changes these structures,
//! it only adds to them. To make `bindings.rs` again:
//!
//! ```text
//! bindgen wrapper.h --no-layout-tests --no-doc-comments --allowlist-var 'V4L2_CTRL_FLAG_NEXT_.*' \
//!   --allowlist-type 'time_t|v4l2_frm(size|ival)types|…and the v4l2_ types that the sources of `v4l` name'
//! ```
//!
//! with `#include <linux/videodev2.h>` as `wrapper.h`.

#![allow(
    missing_docs,
    unreachable_pub,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    clippy::all,
    clippy::pedantic
)]

include!("bindings.rs");

// The sizes are part of the ioctl numbers: a wrong one is refused by the kernel, so it is refused here first.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<v4l2_capability>() == 104);
    assert!(size_of::<v4l2_fmtdesc>() == 64);
    assert!(size_of::<v4l2_format>() == 208);
    assert!(size_of::<v4l2_requestbuffers>() == 20);
    assert!(size_of::<v4l2_buffer>() == 88);
    assert!(size_of::<v4l2_streamparm>() == 204);
    assert!(size_of::<v4l2_frmsizeenum>() == 44);
    assert!(size_of::<v4l2_frmivalenum>() == 52);
    assert!(size_of::<v4l2_query_ext_ctrl>() == 232);
    assert!(size_of::<v4l2_ext_controls>() == 32);
};
