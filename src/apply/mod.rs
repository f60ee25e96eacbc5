//! Apply: from rendered bytes to files and a reloaded process.
