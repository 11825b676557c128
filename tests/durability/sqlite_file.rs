//! sqlite_file
