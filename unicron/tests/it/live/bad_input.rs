//! Whatever anybody sends, they are told what is wrong with it, and the rest of the cluster works on.

use super::processes::none_is_left;
use super::{ITERATIONS, PATIENCE, UNICRON, cluster, expected, trainer};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::Code;
use unicron::local_cluster::LocalCluster;
use unicron::proto::v1::coordinator_client::CoordinatorClient;
use unicron::proto::v1::{self, FromAgent, from_agent, to_agent};
use unicron::rpc::MOST_MESSAGE_BYTES;

/// Lets somebody misbehave while a task trains: it ends as if nothing had been.
pub(super) fn while_a_task_trains(misbehave: impl AsyncFnOnce(&LocalCluster)) {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = cluster(folder.path(), 2).await;
        cluster.submit(&trainer(2, 1, "")).await.unwrap();
        cluster.until("gpt", PATIENCE, |task| task.iteration >= 2).await.unwrap();
        misbehave(&cluster).await;
        let task = cluster.until("gpt", PATIENCE, |task| task.state == "done").await.unwrap();
        assert_eq!((task.iteration, task.failures), (ITERATIONS, 0));
        assert_eq!(task.weights_sha256, expected);
        cluster.end().await;
    });
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
}

/// What a command that is refused says.
fn refused(cluster: &LocalCluster, arguments: &[&str]) -> String {
    let addresses = cluster.addresses();
    let output = UNICRON.run(&[arguments, &["--coordinator", &addresses]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    stderr
}

#[test]
fn what_people_get_wrong_is_named() {
    while_a_task_trains(async |cluster| {
        let file = cluster.folder().join("task.toml");
        let submit = |text: &str| {
            std::fs::write(&file, text).unwrap();
            refused(cluster, &["submit", file.to_str().unwrap()])
        };
        let train = |preset: &str| format!("[train]\npreset = \"{preset}\"\niterations = 9\n");
        let refusals = [
            (refused(cluster, &["drain", "z"]), "there is no node \"z\""),
            (refused(cluster, &["undrain", "../a"]), "there is no node \"../a\""),
            (refused(cluster, &["stop", "other"]), "no task \"other\" runs"),
            (refused(cluster, &["logs", "other"]), "there is no task \"other\""),
            (refused(cluster, &["agent", "--node", "a/../b", "--slots", "1"]), "is no name"),
            (submit("name = \"a\"\nworkers = 0\n"), "task.toml:2: workers: 0 is not"),
            (submit("name = \"a\"\nworkers = 4000000000\n"), "is not 1 to 1500"),
            (submit(&format!("name = \"../a\"\nworkers = 1\n{}", train("tiny"))), "is no name"),
            (
                submit(&format!("name = \"a\"\nworkers = 1\n{}", train("huge"))),
                "preset: \"huge\" is none of nano, tiny, small",
            ),
            (submit(&"#".repeat(1 << 20)), "task.toml:1: the file has more than 65536 bytes"),
            (submit(&trainer(2, 1, "")), "task gpt runs already"),
        ];
        for (said, expected) in refusals {
            assert!(said.contains(expected), "{said}");
        }
    });
}

#[test]
fn messages_that_no_program_of_ours_sends_are_refused() {
    while_a_task_trains(async |cluster| {
        let address = format!("http://{}", cluster.addresses());
        let mut client = CoordinatorClient::connect(address).await.unwrap();
        // Larger than any message may be, and a task file that our own command wouldn't send.
        for (bytes, code) in [
            (MOST_MESSAGE_BYTES + 1, Code::OutOfRange),
            (MOST_MESSAGE_BYTES / 2, Code::FailedPrecondition),
        ] {
            let toml = "x".repeat(bytes);
            let refused = client.submit(v1::SubmitRequest { toml }).await.unwrap_err();
            assert_eq!(refused.code(), code, "{refused:?}");
        }
        let hello = v1::Hello {
            protocol: 1,
            node: "z".to_owned(),
            incarnation: "1".to_owned(),
            slots: 1,
            ..v1::Hello::default()
        };
        for (bad, expected) in [
            (v1::Hello { protocol: 7, ..hello.clone() }, "speaks protocol 1, the agent 7"),
            (v1::Hello { node: "a\nb".to_owned(), ..hello.clone() }, "\"a\\nb\" is no name"),
            (v1::Hello { slots: u32::MAX, ..hello.clone() }, "a node has 1 to 256"),
            (v1::Hello { host: "x".repeat(9999), ..hello.clone() }, "host of 9999 bytes"),
            (v1::Hello { node: "a".to_owned(), ..hello.clone() }, "another agent attends"),
        ] {
            let said = attend(&mut client, bad, None).await;
            assert!(said.contains(expected), "{said}");
        }
        let seen = v1::Observation { text: "x".repeat(1 << 20), ..v1::Observation::default() };
        let seen = from_agent::Message::Observation(seen);
        let said = attend(&mut client, hello.clone(), Some(seen)).await;
        assert!(said.contains("a message of 1048"), "{said}");
    });
}

/// Greets as an agent does, and says something more; why it is refused.
async fn attend(
    client: &mut CoordinatorClient<tonic::transport::Channel>,
    hello: v1::Hello,
    more: Option<from_agent::Message>,
) -> String {
    let hello = from_agent::Message::Hello(hello);
    let said = [Some(hello), more].into_iter().flatten();
    let said: Vec<FromAgent> = said.map(|message| FromAgent { message: Some(message) }).collect();
    let outgoing = tokio_stream::StreamExt::chain(
        tokio_stream::iter(said),
        // The conversation stays open until the other side ends it.
        tokio_stream::pending(),
    );
    let mut stream = client.attend(outgoing).await.unwrap().into_inner();
    while let Some(answer) = stream.message().await.unwrap() {
        if let Some(to_agent::Message::Refused(refused)) = answer.message {
            return refused.reason;
        }
    }
    "it wasn't refused".to_owned()
}

#[test]
fn a_worker_that_speaks_garbage_is_at_fault_and_no_other() {
    let hello = "{\"type\":\"hello\",\"protocol\":9,\"worker\":1,\"pid\":1}\n";
    let endless = "x".repeat(1 << 20);
    let garbage = [
        ("no-protocol", b"\xff\x00 GET / HTTP/1.1\r\n\r\n".as_slice(), "is no message"),
        ("unknown-version", hello.as_bytes(), "this agent speaks protocol 1, the worker 9"),
        ("endless-line", endless.as_bytes(), "a line has more than 262144 bytes"),
    ];
    while_a_task_trains(async |cluster| {
        for (name, bytes, expected) in garbage {
            let path = cluster.folder().join(name);
            // The program tells where its agent listens; the test speaks in its place.
            let shell = format!("echo $UNICRON_SOCKET > {}; exec sleep 1000", path.display());
            let command = format!("command = [\"/bin/sh\", \"-c\", {shell:?}]");
            cluster.submit(&format!("name = {name:?}\nworkers = 1\n{command}\n")).await.unwrap();
            let mut stream = UnixStream::connect(socket(&path).await).unwrap();
            // The agent hangs up as soon as it has read enough.
            let _ = stream.write_all(bytes);
            let failed = |task: &v1::Task| task.failures > 0;
            cluster.until(name, PATIENCE, failed).await.unwrap();
            let events = cluster.events(0).await.unwrap();
            let told = |event: &v1::Event| {
                event.task == name && event.kind == "failure" && event.text.contains(expected)
            };
            assert!(events.iter().any(told), "{events:#?}");
            let stopped = UNICRON.run(&["stop", name, "--coordinator", &cluster.addresses()]);
            // It may have given up by itself.
            assert!(matches!(stopped.status.code(), Some(0 | 2)), "{stopped:?}");
        }
    });
}

/// The path that a program has written.
async fn socket(file: &Path) -> PathBuf {
    for _ in 0..PATIENCE.as_millis() / 20 {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(line) = text.strip_suffix('\n') {
            return line.into();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} was not written", file.display());
}
