//! Real workers, and a test in the place of their agents and coordinator.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use unicron::worker::protocol::{
    self, Checkpoint, FromWorker, Group, Member, PROTOCOL, Redone, ToWorker, env,
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a worker did.
#[derive(Debug)]
enum Event {
    Connected(u64, UnixStream),
    Said(u64, FromWorker),
    Ended(u64),
}

struct Process {
    child: Child,
    stage: u32,
    node: String,
    agent: Option<UnixStream>,
    address: Option<String>,
    is_done: bool,
}

/// Workers of one task.
pub struct Cluster {
    pub folder: TempDir,
    arguments: Vec<String>,
    stages: u32,
    processes: BTreeMap<u64, Process>,
    /// Workers of the present group.
    pub members: BTreeSet<u64>,
    pub epoch: u64,
    next_worker: u64,
    sender: Sender<Event>,
    events: Receiver<Event>,
    pub checkpoint: Option<Checkpoint>,
    /// Whether a death is followed by a group of the others at once, where that can be.
    pub regroups: bool,
    /// By iteration: what was done again in it.
    pub committed: BTreeMap<u64, Redone>,
    pub said: Vec<(u64, FromWorker)>,
    /// The answers to `Done`.
    pub weights_sha256: Option<String>,
}

impl Cluster {
    pub fn new(stages: u32, arguments: &[&str]) -> Self {
        let (sender, events) = mpsc::channel();
        let stages_argument = stages.to_string();
        let mut all = vec!["--preset", "nano", "--stages", &stages_argument];
        if !arguments.contains(&"--checkpoint-every") {
            all.extend(["--checkpoint-every", "0"]);
        }
        all.extend(arguments);
        Self {
            folder: tempfile::tempdir().unwrap(),
            arguments: all.into_iter().map(str::to_owned).collect(),
            stages,
            processes: BTreeMap::new(),
            members: BTreeSet::new(),
            epoch: 0,
            next_worker: 1,
            sender,
            events,
            checkpoint: None,
            regroups: true,
            committed: BTreeMap::new(),
            said: Vec::new(),
            weights_sha256: None,
        }
    }

    /// As many workers as replicas in each stage, one after the other on nodes a, b, c.
    pub fn with_replicas(stages: u32, replicas: usize, arguments: &[&str]) -> Self {
        let mut cluster = Self::new(stages, arguments);
        for _ in 0..replicas {
            for stage in 0..stages {
                cluster.spawn(stage, &[]);
            }
        }
        cluster
    }

    /// Starts a worker; it isn't in a group yet.
    pub fn spawn(&mut self, stage: u32, arguments: &[&str]) -> u64 {
        let worker = self.next_worker;
        self.next_worker += 1;
        let node = ["a", "b", "c"][worker as usize % 3].to_owned();
        let socket = self.folder.path().join(format!("worker-{worker}.socket"));
        let listener = UnixListener::bind(&socket).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_unicron"))
            .arg("train")
            .args(&self.arguments)
            .args(arguments)
            .env(env::SOCKET, &socket)
            .env(env::WORKER, worker.to_string())
            .env(env::TASK, "test")
            .env(env::NODE, &node)
            .env(env::STAGE, stage.to_string())
            .env(env::HOST, "127.0.0.1")
            .env(env::CHECKPOINTS, self.checkpoints())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let events = self.sender.clone();
        thread::spawn(move || agent(worker, &listener, &events));
        let (agent, address, is_done) = (None, None, false);
        self.processes.insert(worker, Process { child, stage, node, agent, address, is_done });
        worker
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.folder.path().join("checkpoints")
    }

    /// Says something to a worker; one that has died doesn't hear it.
    pub fn say(&mut self, worker: u64, message: &ToWorker) {
        if let Some(agent) = self.processes.get_mut(&worker).and_then(|p| p.agent.as_mut()) {
            let _ = protocol::write(agent, message);
        }
    }

    pub fn signal(&self, worker: u64, signal: Signal) {
        let process = self.processes[&worker].child.id();
        kill(Pid::from_raw(process.try_into().unwrap()), signal).unwrap();
    }

    pub fn kill(&self, worker: u64) {
        self.signal(worker, Signal::SIGKILL);
    }

    pub fn exit_status(&mut self, worker: u64) -> ExitStatus {
        self.processes.get_mut(&worker).unwrap().child.wait().unwrap()
    }

    fn has_all_stages(&self, workers: &BTreeSet<u64>) -> bool {
        let stages: BTreeSet<u32> =
            workers.iter().map(|worker| self.processes[worker].stage).collect();
        stages.len() == self.stages as usize
    }

    /// Makes a group of these.
    pub fn group(&mut self, members: BTreeSet<u64>) {
        self.epoch += 1;
        let before = std::mem::replace(&mut self.members, members);
        let member = |&worker: &u64| {
            let process = &self.processes[&worker];
            let (stage, node) = (process.stage, process.node.clone());
            Member { worker, stage, node, address: process.address.clone().unwrap() }
        };
        let members = self.members.iter().map(member).collect();
        let group =
            Group { epoch: self.epoch, attempt: 1, members, checkpoint: self.checkpoint.clone() };
        for worker in before.union(&self.members.clone()).copied().collect::<Vec<_>>() {
            self.say(worker, &ToWorker::Group(group.clone()));
        }
    }

    /// A group of all that are ready.
    pub fn group_of_ready(&mut self) {
        let ready = self.processes.iter().filter(|(_, process)| process.address.is_some());
        let ready = ready.map(|(&worker, _)| worker).collect();
        self.group(ready);
    }

    /// Waits until all that were started are ready, and makes a group of them.
    pub fn form(&mut self) {
        self.until(|cluster| cluster.processes.values().all(|p| p.address.is_some()));
        self.group_of_ready();
    }

    /// Goes on until something is so.
    pub fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let clock = Instant::now();
        while !is_so(self) {
            let left = PATIENCE.saturating_sub(clock.elapsed());
            match self.events.recv_timeout(left) {
                Ok(event) => self.handle(event),
                Err(_) => {
                    let last = self.said.iter().rev().take(40).rev();
                    let last: Vec<_> = last.map(|said| format!("{said:?}")).collect();
                    panic!("epoch {}, {:?}:\n{}", self.epoch, self.members, last.join("\n"));
                }
            }
        }
    }

    /// Goes on until all have done their work; ends them, and returns the sum of the weights.
    pub fn finish(&mut self) -> String {
        self.until(|cluster| {
            let is_done = |worker: &u64| cluster.processes[worker].is_done;
            cluster.weights_sha256.is_some() && cluster.members.iter().all(is_done)
        });
        let members = self.members.clone();
        for worker in members {
            self.say(worker, &ToWorker::Stop { reason: "done".to_owned() });
            assert!(self.exit_status(worker).success());
        }
        self.weights_sha256.clone().unwrap()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(worker, stream) => {
                if let Some(process) = self.processes.get_mut(&worker) {
                    process.agent = Some(stream);
                }
                let (protocol, task) = (PROTOCOL, "test".to_owned());
                self.say(worker, &ToWorker::Welcome { protocol, task, lease_s: 60.0 });
            }
            Event::Ended(worker) => self.bury(worker),
            Event::Said(worker, message) => self.hear(worker, message),
        }
    }

    fn bury(&mut self, worker: u64) {
        let Some(mut dead) = self.processes.remove(&worker) else { return };
        // One that was told to end, or lies about its end, is nobody's failure.
        let _ = dead.child.kill();
        let _ = dead.child.wait();
        if !self.members.remove(&worker) || !self.regroups {
            return;
        }
        let ready = |worker: &u64| self.processes[worker].address.is_some();
        let left: BTreeSet<u64> = self.members.iter().copied().filter(ready).collect();
        if self.has_all_stages(&left) {
            self.group(left);
        } else {
            self.spawn(dead.stage, &[]);
        }
    }

    fn hear(&mut self, worker: u64, message: FromWorker) {
        match &message {
            FromWorker::Ready { address, .. } => {
                if let Some(process) = self.processes.get_mut(&worker) {
                    process.address = Some(address.clone());
                }
                // Somebody in the place of the last of a stage: the group waits for nobody else.
                let are_ready = self.processes.values().all(|p| p.address.is_some());
                if self.epoch > 0 && self.regroups && are_ready {
                    self.group_of_ready();
                }
            }
            FromWorker::Committed { iteration, redone, .. } => {
                let before = self.committed.entry(*iteration).or_default();
                before.stage_passes = before.stage_passes.max(redone.stage_passes);
                before.micro_batches = before.micro_batches.max(redone.micro_batches);
            }
            FromWorker::Checkpoint { epoch, iteration, path } if *epoch == self.epoch => {
                let (iteration, path) = (*iteration, path.clone());
                self.checkpoint = Some(Checkpoint { iteration, path });
                self.say(worker, &ToWorker::CheckpointCommitted { iteration });
            }
            FromWorker::Done { weights_sha256, .. } => {
                if let Some(process) = self.processes.get_mut(&worker) {
                    process.is_done = true;
                }
                if weights_sha256.is_some() {
                    self.weights_sha256.clone_from(weights_sha256);
                }
            }
            _ => {}
        }
        self.said.push((worker, message));
    }

    /// Whether an iteration runs in the present group.
    pub fn has_begun(&self, expected: u64) -> bool {
        self.said.iter().any(|(_, message)| {
            matches!(message, FromWorker::Iteration { epoch, iteration, .. }
                if *epoch == self.epoch && *iteration >= expected)
        })
    }

    /// The iterations that the group went back to.
    pub fn rolled_back_to(&self) -> BTreeSet<u64> {
        let back = self.said.iter().filter_map(|(_, message)| match message {
            FromWorker::RolledBack { iteration, .. } if *iteration > 0 => Some(*iteration),
            _ => None,
        });
        back.collect()
    }

    /// Passes that were done again, in all iterations.
    pub fn redone(&self) -> u64 {
        self.committed.values().map(|redone| redone.stage_passes).sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// Takes the worker's call and hands on what it says.
fn agent(worker: u64, listener: &UnixListener, events: &Sender<Event>) {
    let Ok((stream, _)) = listener.accept() else { return };
    let _ = events.send(Event::Connected(worker, stream.try_clone().unwrap()));
    let mut reader = BufReader::new(stream);
    while let Ok(Some(message)) = protocol::read(&mut reader) {
        let _ = events.send(Event::Said(worker, message));
    }
    let _ = events.send(Event::Ended(worker));
}
