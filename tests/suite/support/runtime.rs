//! The runtime on which tests run what is asynchronous; they themselves are not.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// One for all tests of this process.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    &RUNTIME
}
