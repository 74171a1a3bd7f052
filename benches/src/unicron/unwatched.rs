//! A worker whose agent does nothing: it forms the group and reads what the worker says, so that the worker
//! runs the same code as under an agent, and is watched by nobody.

use super::overhead::{ITERATIONS, PRESET, arguments};
use anyhow::Context;
use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use unicron::worker::protocol::{FromWorker, Group, Member, PROTOCOL, ToWorker, env, read, write};

const WORKER: u64 = 1;

/// Trains to the end.
pub fn train(program: &Path, folder: &Path, timings: &Path) -> anyhow::Result<()> {
    let socket = folder.join("unwatched.sock");
    // The socket of the run before.
    drop(std::fs::remove_file(&socket));
    let listener = UnixListener::bind(&socket)?;
    let worker = Command::new(program)
        .args(["train", "--preset", PRESET, "--iterations", &ITERATIONS.to_string()])
        .args(arguments(timings))
        .arg("--weights")
        .arg(folder.join("unwatched.safetensors"))
        .envs([(env::SOCKET, socket.display().to_string()), (env::WORKER, WORKER.to_string())])
        .envs([(env::HOST, "127.0.0.1"), (env::TASK, "unwatched")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| program.display().to_string())?;
    let mut worker = Ended(worker);
    let (stream, _) = listener.accept()?;
    attend(stream)?;
    worker.0.kill()?;
    worker.0.wait()?;
    Ok(())
}

/// A process that doesn't outlive its handle.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // An error means that it has ended.
        drop(self.0.kill());
    }
}

/// Forms the group, and listens until its work is done.
fn attend(mut stream: UnixStream) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(message) = read::<FromWorker>(&mut reader)? {
        match message {
            FromWorker::Hello { .. } => {
                let task = "unwatched".to_owned();
                write(
                    &mut stream,
                    &ToWorker::Welcome { protocol: PROTOCOL, task, lease_s: 3600.0 },
                )?;
            }
            FromWorker::Ready { address, .. } => {
                let node = "unwatched".to_owned();
                let members = vec![Member { worker: WORKER, stage: 0, node, address }];
                let group = Group { epoch: 1, attempt: 1, members, checkpoint: None };
                write(&mut stream, &ToWorker::Group(group))?;
            }
            FromWorker::Done { .. } => return Ok(()),
            FromWorker::Exception { message, .. } => anyhow::bail!("the trainer failed: {message}"),
            _ => {}
        }
    }
    anyhow::bail!("the trainer has ended before its work was done")
}
