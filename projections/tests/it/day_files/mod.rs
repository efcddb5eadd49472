//! The projections into one text file a day, as others see them: with real files, and on a simulated disk that loses
//! power.
mod common;
mod damage;
mod descriptions;
mod follower;
mod following;
mod full;
mod hard_links;
mod hostile;
mod laws;
mod machine;
mod power_cuts;
mod pruning;
mod rebuilding;
mod tampering;
mod verifying;
mod watched;
