//! Progress bars on stderr, for people who wait.
//!
//! Libraries take a [`Progress`] and report to it; the command decides whether anybody sees it.
//! The types are concrete: a hidden bar costs a few atomic operations, so no caller needs a trait
//! or an `Option`.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown with binary prefixes and a rate.
    Bytes,
    /// Anything else, by its plural name ("tokens", "epochs").
    Items(&'static str),
}

/// The place where bars are drawn. Cloning it is cheap, and all clones share the place.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Shows nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()) }
    }

    /// Draws on stderr where that is a terminal, and shows nothing where it isn't.
    #[must_use]
    pub fn stderr() -> Self {
        if std::io::stderr().is_terminal() {
            Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()) }
        } else {
            Self::silent()
        }
    }

    /// A new bar below the others. Without a total it spins. It leaves the screen when it is
    /// finished or dropped, so that what is left there is the command's output.
    #[must_use]
    pub fn bar(&self, label: &str, total: Option<u64>, unit: Unit) -> Bar {
        let bar = self.bars.add(ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()));
        bar.set_style(style(total.is_some(), unit));
        bar.set_prefix(label.to_owned());
        // A bar whose work stalls (a slow server, a long first step) still shows that time passes.
        if !self.bars.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(150));
        }
        Bar { bar }
    }

    /// Runs `f` while the bars are off the screen, so that it can write to the terminal.
    pub fn suspend<R>(&self, f: impl FnOnce() -> R) -> R {
        self.bars.suspend(f)
    }
}

/// One bar. Shared by reference between threads; it leaves the screen when dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// Moves the bar on by `n`.
    pub fn advance(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Moves the bar to `position`, forwards or back.
    pub fn set_position(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Sets the total, for work whose size shows only once it has begun.
    pub fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Where the bar stands.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.bar.position()
    }

    /// Shows `text` behind the bar.
    pub fn message(&self, text: impl Into<Cow<'static, str>>) {
        self.bar.set_message(text);
    }

    /// Takes the bar off the screen.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(bounded: bool, unit: Unit) -> ProgressStyle {
    let template = match (bounded, unit) {
        (true, Unit::Bytes) => {
            "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}".to_owned()
        }
        (false, Unit::Bytes) => "{prefix} {spinner} {bytes} {bytes_per_sec} {msg}".to_owned(),
        (true, Unit::Items(name)) => {
            format!("{{prefix}} {{bar:30}} {{pos}}/{{len}} {} {{eta}} {{msg}}", literal(name))
        }
        (false, Unit::Items(name)) => {
            format!("{{prefix}} {{spinner}} {{pos}} {} {{elapsed}} {{msg}}", literal(name))
        }
    };
    let style =
        ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─")
}

/// `name` as template text: braces are doubled so that they stand for themselves.
fn literal(name: &str) -> String {
    name.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps what was written to it since it was last read.
    #[derive(Debug, Clone, Default)]
    struct Tape(Arc<Mutex<String>>);

    impl Tape {
        fn take(&self) -> String {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl TermLike for Tape {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn on_tape() -> (Progress, Tape) {
        let tape = Tape::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(tape.clone()), 255);
        (Progress { bars: MultiProgress::with_draw_target(target) }, tape)
    }

    #[test]
    fn several_bars_show_at_once_and_leave_when_dropped() {
        let (progress, tape) = on_tape();
        let download = progress.bar("graph", Some(2048), Unit::Bytes);
        let train = progress.bar("train", Some(10), Unit::Items("epochs"));
        download.set_position(1024);
        train.advance(3);
        train.message("loss 0.5");
        download.bar.force_draw();
        tape.take();
        train.bar.force_draw();
        let text = tape.take();
        assert!(text.contains("graph") && text.contains("1.00 KiB/2.00 KiB"), "{text}");
        assert!(text.contains("3/10 epochs") && text.contains("loss 0.5"), "{text}");
        train.finish();
        tape.take();
        download.bar.force_draw();
        let text = tape.take();
        assert!(text.contains("graph") && !text.contains("train"), "{text}");
        let inner = download.bar.clone();
        drop(download);
        tape.take();
        inner.force_draw();
        assert!(!tape.take().contains("graph"));
    }

    #[test]
    fn every_template_is_valid() {
        for unit in [Unit::Bytes, Unit::Items("tokens"), Unit::Items("odd {name}")] {
            for total in [None, Some(5)] {
                let (progress, tape) = on_tape();
                let bar = progress.bar("label", total, unit);
                bar.bar.force_draw();
                // The fallback style has no prefix, so the label shows that ours was accepted.
                assert!(tape.take().contains("label"), "{unit:?} {total:?}");
            }
        }
    }

    #[test]
    fn progress_and_bars_go_where_threads_are() {
        fn shared<T: Send + Sync>() {}
        shared::<Progress>();
        shared::<Bar>();
    }

    #[test]
    fn silent_bars_still_count_and_are_shared_between_threads() {
        let progress = Progress::silent();
        let bar = progress.bar("work", None, Unit::Items("steps"));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| bar.advance(25));
            }
        });
        assert_eq!(bar.position(), 100);
    }
}
