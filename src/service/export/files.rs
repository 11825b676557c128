//! An export into files as `mongoexport` writes them: one a collection, one document a line, canonical extended JSON.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bson::Document;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::{ExportError, ExportSink};
use crate::domain::document::to_extended_json;
use crate::service::import::Collection;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// A directory of files. They have their names from the beginning; a file named `INCOMPLETE` stands beside them until
/// everything was written.
pub struct FileSink {
    dir: PathBuf,
    open: Option<(Collection, BufWriter<File>)>,
    /// What comes before the next element of the run's list.
    separator: &'static str,
    in_bad_tasks: bool,
}

/// Name of the mark beside an export that hasn't ended.
const MARK: &str = "INCOMPLETE";

impl FileSink {
    /// Begins an export into a directory, which is made if it is not there and must be empty.
    ///
    /// # Errors
    /// It can't be made, or holds something.
    pub async fn begin(dir: &Path) -> Result<Self, ExportError> {
        let sink = Self { dir: dir.to_owned(), open: None, separator: "", in_bad_tasks: false };
        let at = |source: io::Error| ExportError::Target {
            target: dir.display().to_string(),
            source: source.into(),
        };
        tokio::fs::create_dir_all(dir).await.map_err(at)?;
        let mut entries = tokio::fs::read_dir(dir).await.map_err(at)?;
        if entries.next_entry().await.map_err(at)?.is_some() {
            return Err(at(io::Error::new(io::ErrorKind::AlreadyExists, "the directory is not empty")));
        }
        tokio::fs::write(dir.join(MARK), "This export did not end.\n").await.map_err(at)?;
        Ok(sink)
    }

    fn path(&self, collection: Collection) -> PathBuf {
        self.dir.join(format!("{}.json", collection.name()))
    }

    async fn write(&mut self, collection: Collection, text: &str) -> Result<(), ExportError> {
        let path = self.path(collection);
        let at = |source: io::Error| ExportError::Target {
            target: path.display().to_string(),
            source: source.into(),
        };
        if self.open.as_ref().is_none_or(|(open, _)| *open != collection) {
            self.close().await?;
            let file = File::create_new(&path).await.map_err(at)?;
            self.open = Some((collection, BufWriter::with_capacity(BUFFER, file)));
        }
        match &mut self.open {
            Some((_, file)) => file.write_all(text.as_bytes()).await.map_err(at),
            None => Ok(()),
        }
    }

    async fn element(&mut self, element: &Document) -> Result<(), ExportError> {
        let mut text = self.separator.to_owned();
        self.separator = ",";
        text.push_str(&to_extended_json(element));
        self.write(Collection::Runs, &text).await
    }

    /// Ends the list of tasks, unless that was done.
    async fn begin_bad_tasks(&mut self) -> Result<(), ExportError> {
        if self.in_bad_tasks {
            return Ok(());
        }
        (self.separator, self.in_bad_tasks) = ("", true);
        self.write(Collection::Runs, "],\"bad_tasks\":[").await
    }

    async fn close(&mut self) -> Result<(), ExportError> {
        let Some((collection, mut file)) = self.open.take() else { return Ok(()) };
        let path = self.path(collection);
        let at = |source: io::Error| ExportError::Target {
            target: path.display().to_string(),
            source: source.into(),
        };
        file.flush().await.map_err(at)?;
        file.get_ref().sync_all().await.map_err(at)
    }
}

/// A document's line, open for more fields at its end.
fn unclosed(document: &Document) -> String {
    let mut text = to_extended_json(document);
    text.truncate(text.trim_end().len().saturating_sub(1));
    if !document.is_empty() {
        text.push(',');
    }
    text
}

#[async_trait]
impl ExportSink for FileSink {
    async fn document(
        &mut self,
        collection: Collection,
        document: Document,
    ) -> Result<Option<String>, ExportError> {
        let mut line = to_extended_json(&document);
        line.push('\n');
        self.write(collection, &line).await?;
        Ok(None)
    }

    async fn begin_run(&mut self, run: Document) -> Result<(), ExportError> {
        (self.separator, self.in_bad_tasks) = ("", false);
        let mut line = unclosed(&run);
        line.push_str("\"tasks\":[");
        self.write(Collection::Runs, &line).await
    }

    async fn task(&mut self, task: Document) -> Result<(), ExportError> {
        self.element(&task).await
    }

    async fn bad_task(&mut self, task: Document) -> Result<(), ExportError> {
        self.begin_bad_tasks().await?;
        self.element(&task).await
    }

    async fn end_run(&mut self) -> Result<Option<String>, ExportError> {
        self.begin_bad_tasks().await?;
        self.write(Collection::Runs, "]}\n").await?;
        Ok(None)
    }

    async fn finish(&mut self) -> Result<(), ExportError> {
        self.close().await?;
        let mark = self.dir.join(MARK);
        let removed = tokio::fs::remove_file(&mark).await;
        removed.map_err(|source| ExportError::Target {
            target: mark.display().to_string(),
            source: source.into(),
        })
    }
}
