//! A group between coordinator and agent, and between agent and worker: the same in two protocols.

use super::v1;
use crate::worker::protocol::{Checkpoint, Group, Member};

impl v1::Group {
    /// A task's group as the coordinator tells it to agents.
    #[must_use]
    pub fn of(task: &str, group: &Group) -> Self {
        let member = |member: &Member| v1::Member {
            worker: member.worker,
            stage: member.stage,
            node: member.node.clone(),
            address: member.address.clone(),
        };
        let checkpoint = group.checkpoint.as_ref().map(|checkpoint| v1::Checkpoint {
            iteration: checkpoint.iteration,
            path: checkpoint.path.clone(),
        });
        Self {
            task: task.to_owned(),
            epoch: group.epoch,
            members: group.members.iter().map(member).collect(),
            checkpoint,
            attempt: group.attempt,
        }
    }
}

/// As the agent tells it to workers, which know their task.
impl From<&v1::Group> for Group {
    fn from(group: &v1::Group) -> Self {
        let member = |member: &v1::Member| Member {
            worker: member.worker,
            stage: member.stage,
            node: member.node.clone(),
            address: member.address.clone(),
        };
        let checkpoint = group.checkpoint.as_ref().map(|checkpoint| Checkpoint {
            iteration: checkpoint.iteration,
            path: checkpoint.path.clone(),
        });
        Self {
            epoch: group.epoch,
            attempt: group.attempt,
            members: group.members.iter().map(member).collect(),
            checkpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_comes_back_as_it_was() {
        let address = "127.0.0.1:9".to_owned();
        let member = Member { worker: 3, stage: 1, node: "a".to_owned(), address };
        let checkpoint = Some(Checkpoint { iteration: 5, path: "there".to_owned() });
        let group = Group { epoch: 7, attempt: 3, members: vec![member], checkpoint };
        let wire = v1::Group::of("gpt", &group);
        assert_eq!((Group::from(&wire), wire.task.as_str()), (group, "gpt"));
    }
}
