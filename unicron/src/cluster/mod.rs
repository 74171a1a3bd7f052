//! Nodes, GPUs and links, failure domains; the file that describes a cluster and its tasks.
