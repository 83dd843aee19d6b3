//! Writes the status page, whole or not at all, so that any web server can publish it.

use crate::estate::Estate;
use crate::journal::rundir::RunDir;
use crate::report::status_page::{Marks, StatusPage};
use crate::run::Run;
use jiff::{SignedDuration, Timestamp};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// At the latest after so long the page is written anew, with its own "as of".
const EVERY: SignedDuration = SignedDuration::from_secs(5);

/// Writes pages in a thread of its own: a slow disk must not hold up the screen.
pub(crate) struct Publisher {
    queue: Option<Sender<(String, String)>>,
    thread: Option<JoinHandle<()>>,
    marks: Option<Marks>,
    last: Option<StatusPage>,
    shift: SignedDuration,
    rehearsal: bool,
}

impl Publisher {
    /// For a run's directory, and the estate's status directory if it has one.
    pub(crate) fn new(
        dir: &RunDir,
        estate: Option<&Estate>,
        shift_s: i64,
        rehearsal: bool,
    ) -> Self {
        let mut places = vec![(dir.status_json(), dir.status_html())];
        if let Some(directory) = estate.and_then(|estate| estate.status_directory.as_ref()) {
            places.push((directory.join("status.json"), directory.join("index.html")));
        }
        let (queue, pages) = channel();
        let thread = std::thread::Builder::new()
            .name("status page".into())
            .spawn(move || write_all(&pages, &places))
            .ok();
        let shift = SignedDuration::from_secs(shift_s);
        Self { queue: Some(queue), thread, marks: None, last: None, shift, rehearsal }
    }

    /// Writes the page when what it says has changed, or its time has come.
    pub(crate) fn look(&mut self, run: &Run, now: Timestamp) {
        let marks = self.marks.get_or_insert_with(|| Marks::of(run.graph()));
        let mut page = StatusPage::of(run, marks, self.shift, self.rehearsal, now);
        // It ended when that was seen first.
        if let (Some(ended), Some(first)) =
            (&mut page.ended, self.last.as_ref().and_then(|last| last.ended))
        {
            *ended = first;
        }
        let same = self.last.as_ref().is_some_and(|last| {
            now.duration_since(last.as_of) < EVERY
                && StatusPage { as_of: last.as_of, ..page.clone() } == *last
        });
        if same {
            return;
        }
        let Ok(mut json) = serde_json::to_string_pretty(&page) else { return };
        json.push('\n');
        let html = page.html(&run.graph().plan().zones);
        if let Some(queue) = &self.queue {
            let _ = queue.send((json, html));
        }
        self.last = Some(page);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(pages: &Receiver<(String, String)>, places: &[(PathBuf, PathBuf)]) {
    while let Ok(mut newest) = pages.recv() {
        while let Ok(newer) = pages.try_recv() {
            newest = newer;
        }
        for (json, html) in places {
            for (path, text) in [(json, &newest.0), (html, &newest.1)] {
                if let Err(error) = replace(path, text) {
                    tracing::warn!(path = %path.display(), %error, "the status page is not written");
                }
            }
        }
    }
}

/// A reader sees the old text or the new one, never a part.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    // It is made to be published: a web server of another user reads it.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
