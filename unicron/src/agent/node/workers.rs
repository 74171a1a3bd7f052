//! A node's workers: those that are wanted are started, the others end.
//!
//! Most are processes at once. Those of a task that starts as a whole are *held* first: the agent says that
//! it is ready for them, once nothing of the task's former processes is left here, and starts them when it
//! hears who is in their group.

use super::{LINES_OF_A_FAILURE, Local, Node, Output, Say};
use crate::agent::local::Socket;
use crate::agent::process::{Launch, Occurrence, Process, Tail};
use crate::agent::tcp_store::TcpStore;
use crate::agent::torchrun;
use crate::agent::watch::{self, Watch};
use crate::detect::LogReader;
use crate::proto::v1;
use crate::wall_clock::wall_ms;
use crate::worker::protocol::{Group, PROTOCOL, ToWorker, env};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// How long a task's store stays after its last worker was wanted here, in seconds: a successor may come.
const STORE_LINGERS_S: f64 = 60.0;

/// A store of a task.
pub(super) struct Store {
    store: TcpStore,
    /// When it was last needed.
    needed_s: f64,
}

impl Node {
    /// Starts what is wanted, ends what isn't, and tells workers of their groups.
    pub(super) fn reconcile(&mut self) {
        let Some(wanted) = self.wanted.take() else { return };
        let agents = self.settings.grace;
        for (number, local) in &mut self.workers {
            let is_wanted = wanted.workers.iter().any(|worker| worker.worker == *number);
            if !is_wanted && !local.is_ending {
                let ending = wanted.endings.iter().find(|ending| ending.worker == *number);
                let grace_s = ending.map(|ending| ending.grace_s);
                let grace_s =
                    grace_s.or(Some(local.launch.grace_s).filter(|&grace_s| grace_s > 0.0));
                let grace = grace_s.and_then(|s| Duration::try_from_secs_f64(s).ok());
                local.end("it isn't wanted any more", grace.unwrap_or(agents));
            }
        }
        // Those that were never started leave nothing behind.
        self.workers.retain(|_, local| !local.is_ending || local.process.is_some());
        for worker in &wanted.workers {
            let is_known = self.workers.contains_key(&worker.worker);
            if !is_known && !self.ended.contains(&worker.worker) {
                self.start(worker);
            }
        }
        for group in &wanted.groups {
            self.tell_group(group);
        }
        self.watches.retain(|task, _| wanted.workers.iter().any(|worker| worker.task == *task));
        self.ended.retain(|ended| wanted.workers.iter().any(|worker| worker.worker == *ended));
        self.wanted = Some(wanted);
        self.say_ready_for_held();
    }

    fn tell_group(&mut self, group: &v1::Group) {
        let now_s = self.now_s();
        let message = Group::from(group);
        if let Some(Store { store, .. }) = self.stores.get(&group.task) {
            store.table().retain(|key| !torchrun::is_of_another_attempt(key, &message));
        }
        for (rank, member) in message.members.iter().enumerate() {
            let Some(local) = self.workers.get_mut(&member.worker) else { continue };
            if local.epoch >= message.epoch || local.is_ending {
                continue;
            }
            (local.epoch, local.rank) = (message.epoch, Some(rank));
            local.socket.say(ToWorker::Group(message.clone()));
            if let Some(watch) = &mut local.watch {
                watch.regrouped(now_s, message.epoch, message.members.len());
                if local.launch.starts_with_group {
                    // It may never say what it does.
                    watch.pause();
                }
            }
            if local.launch.starts_with_group && local.process.is_none() {
                self.start_held(member.worker, &message);
            }
        }
    }

    fn start(&mut self, wanted: &v1::WantedWorker) {
        let worker = wanted.worker;
        let path = self.socket_path(worker);
        let socket = match Socket::open(&path, worker, self.heard.clone()) {
            Ok(socket) => socket,
            Err(error) => {
                return self.never_started(worker, format!("{}: {error}", path.display()));
            }
        };
        if let Err(error) = self.open_store(&wanted.task) {
            let host = &self.settings.host;
            return self.never_started(worker, format!("a store on {host} (--host): {error}"));
        }
        socket.say(ToWorker::Welcome {
            protocol: PROTOCOL,
            task: wanted.task.clone(),
            lease_s: self.lease_s,
        });
        if let Some(left_s) = self.fence.left_s(self.now_s()) {
            socket.say(ToWorker::Lease { seconds: Some(left_s) });
        }
        let launch = wanted.launch.clone().unwrap_or_default();
        let starts_now = !launch.starts_with_group;
        let local = Local {
            task: wanted.task.clone(),
            stage: wanted.stage,
            launch,
            process: None,
            socket,
            pid: 0,
            address: String::new(),
            fingerprint: String::new(),
            epoch: 0,
            rank: None,
            tail: Tail::default(),
            log: LogReader::new(),
            watch: self.watch_of(&wanted.task),
            silence: None,
            is_ending: false,
        };
        self.workers.insert(worker, local);
        if starts_now {
            self.start_process(worker, BTreeMap::new());
        }
    }

    fn socket_path(&self, worker: u64) -> PathBuf {
        self.settings.folder.join(format!("{worker:x}.sock"))
    }

    fn error_path(&self, worker: u64) -> PathBuf {
        self.settings.folder.join(format!("{worker:x}.error.json"))
    }

    /// A held worker's group is known.
    fn start_held(&mut self, worker: u64, group: &Group) {
        let Some(of_group) = torchrun::environment(group, worker) else {
            return self.never_started(worker, "its group has no store".to_owned());
        };
        let mut environment: BTreeMap<String, String> =
            of_group.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let error_file = self.error_path(worker).display().to_string();
        environment.insert(torchrun::ERROR_FILE.to_owned(), error_file);
        if !self.settings.sets_threads {
            environment.insert(torchrun::THREADS.to_owned(), "1".to_owned());
        }
        self.start_process(worker, environment);
    }

    fn start_process(&mut self, worker: u64, further: BTreeMap<String, String>) {
        let now_s = self.now_s();
        let Some(local) = self.workers.get(&worker) else { return };
        let launch = self.process_launch(worker, local, further);
        let program = &self.settings.program;
        let process = Process::start(worker, program, launch, self.occurrences.clone());
        if let Some(local) = self.workers.get_mut(&worker) {
            local.process = Some(process);
            local.silence = watch::Silence::new(now_s, local.launch.hang_after_s);
        }
    }

    fn process_launch(
        &self,
        worker: u64,
        local: &Local,
        further: BTreeMap<String, String>,
    ) -> Launch {
        let launch = &local.launch;
        let mut command = launch.command.clone();
        if launch.is_unicron {
            command.insert(0, self.settings.program.display().to_string());
        }
        // What its owner has set comes before what torchrun would have.
        let mut environment = further;
        environment.extend(launch.environment.clone());
        let mut give = |name: &str, value: String| environment.insert(name.to_owned(), value);
        give(env::SOCKET, self.socket_path(worker).display().to_string());
        give(env::WORKER, worker.to_string());
        give(env::TASK, local.task.clone());
        give(env::NODE, self.settings.node.clone());
        give(env::STAGE, local.stage.to_string());
        give(env::HOST, self.settings.host.clone());
        give(env::RUN_ID, self.settings.run_id.clone());
        give(env::STORE, self.store_address(&local.task));
        Launch { command, environment }
    }

    /// Says for which workers a place is free.
    fn say_ready_for_held(&mut self) {
        let ends: Vec<String> = self
            .workers
            .values()
            .filter(|local| local.is_ending)
            .map(|local| local.task.clone())
            .collect();
        let is_held = |local: &&mut Local| {
            local.launch.starts_with_group && local.process.is_none() && local.address.is_empty()
        };
        let mut ready = Vec::new();
        for (&worker, local) in &mut self.workers {
            if is_held(&&mut *local) && !ends.contains(&local.task) {
                ready.push((worker, local.task.clone()));
            }
        }
        for (worker, task) in ready {
            let address = self.store_address(&task);
            if let Some(local) = self.workers.get_mut(&worker) {
                local.address.clone_from(&address);
            }
            let fingerprint = String::new();
            self.say(Say::Ready(v1::WorkerReady { worker, address, fingerprint }));
        }
    }

    /// Opens the store of a task, if there is none.
    fn open_store(&mut self, task: &str) -> std::io::Result<()> {
        let needed_s = self.now_s();
        if let Some(store) = self.stores.get_mut(task) {
            store.needed_s = needed_s;
            return Ok(());
        }
        let store = TcpStore::open(&self.settings.host, self.settings.store_bytes)?;
        self.stores.insert(task.to_owned(), Store { store, needed_s });
        Ok(())
    }

    fn store_address(&self, task: &str) -> String {
        let port = self.stores.get(task).map_or(0, |store| store.store.port());
        format!("{}:{port}", self.settings.host)
    }

    /// Closes the stores of tasks that have nobody here any more.
    pub(super) fn close_stores(&mut self) {
        let now_s = self.now_s();
        let needed: Vec<&String> = self.workers.values().map(|local| &local.task).collect();
        for (task, store) in &mut self.stores {
            if needed.contains(&task) {
                store.needed_s = now_s;
            }
        }
        self.stores.retain(|_, store| now_s < store.needed_s + STORE_LINGERS_S);
    }

    /// A new worker's watch knows what another of its task has learned.
    fn watch_of(&self, task: &str) -> Option<Watch> {
        let mut others = self.workers.values().filter(|local| local.task == task);
        let known = others.find_map(|local| local.watch.as_ref());
        let known = known.or_else(|| self.watches.get(task));
        known.map_or_else(|| Watch::new(watch::settings()), |watch| Some(watch.of_successor()))
    }

    fn never_started(&mut self, worker: u64, problem: String) {
        self.workers.remove(&worker);
        self.ended.insert(worker);
        self.say(Say::Ended(v1::WorkerEnded {
            worker,
            code: None,
            problem,
            at_ms: wall_ms(),
            last_lines: Vec::new(),
        }));
    }

    /// Something of a process.
    pub(super) fn occur(&mut self, worker: u64, what: Occurrence) {
        match what {
            Occurrence::Started { pid } => {
                if let Some(local) = self.workers.get_mut(&worker) {
                    local.pid = pid;
                    self.say(Say::Started(v1::WorkerStarted { worker, pid }));
                }
            }
            Occurrence::Line(line) => self.read_line(worker, line),
            Occurrence::Ended(code) => self.ended(worker, code),
            Occurrence::Failed(problem) => self.never_started(worker, problem),
        }
    }

    /// Nothing of a process is left.
    fn ended(&mut self, worker: u64, code: i32) {
        if code != 0 {
            self.read_error_file(worker);
        }
        let Some(mut local) = self.workers.remove(&worker) else { return };
        self.ended.insert(worker);
        if let Some(watch) = local.watch.take() {
            self.watches.insert(local.task.clone(), watch);
        }
        // What isn't there needs no removing.
        let _ = std::fs::remove_file(self.error_path(worker));
        if !local.is_ending {
            let last_lines = local.tail.of_failure(LINES_OF_A_FAILURE);
            let (problem, at_ms, code) = (String::new(), wall_ms(), Some(code));
            self.say(Say::Ended(v1::WorkerEnded { worker, code, problem, at_ms, last_lines }));
        }
        self.say_ready_for_held();
    }

    /// What a script has left of an exception tells more than its exit.
    fn read_error_file(&mut self, worker: u64) {
        let Some(exception) = torchrun::read_error(&self.error_path(worker)) else { return };
        self.raised(worker, None, &exception.message, &exception.traceback);
    }

    /// Shows a line of a worker to whoever wants to see it.
    pub(super) fn show(&self, worker: u64, local: &Local, line: &str) {
        if let Some(output) = &self.settings.output {
            let (task, rank, line) = (local.task.clone(), local.rank, line.to_owned());
            // Nobody looks when the agent ends.
            let _ = output.send(Output { task, worker, rank, line });
        }
    }

    /// Ends all workers and waits until nothing of them is left.
    pub(super) async fn end_all(&mut self, occurred: &mut Receiver<(u64, Occurrence)>) {
        let agents = self.settings.grace;
        for local in self.workers.values_mut() {
            local.end("the agent ends", agents);
        }
        self.workers.retain(|_, local| local.process.is_some());
        while !self.workers.is_empty() {
            match occurred.recv().await {
                Some((worker, Occurrence::Ended(_) | Occurrence::Failed(_))) => {
                    self.workers.remove(&worker);
                }
                Some((worker, Occurrence::Line(line))) => {
                    if let Some(local) = self.workers.get(&worker) {
                        self.show(worker, local, &line);
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

impl Local {
    /// Asks it to end, and sees to it.
    fn end(&mut self, reason: &str, grace: Duration) {
        self.is_ending = true;
        self.socket.say(ToWorker::Stop { reason: reason.to_owned() });
        if let Some(process) = &self.process {
            process.terminate(grace);
        }
        if let Some(watch) = &mut self.watch {
            watch.pause();
        }
    }
}
