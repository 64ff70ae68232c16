//! podman 4.3 with crun 1.8: what is known to differ. Its Docker-compatible API is of version 1.41, and a
//! layer over an engine with other ideas, so this is long; the reasons go by groups of checks.

use crate::known::Known;

const EXITS: &str = "500 where a command can't run; exit codes are the same";
const STATES: &str = "words, order and sizes of its own; restarts don't show as a state";
const LIFE: &str = "stops differ: no 304 for what never ran, no signal with a stop (API 1.42)";
const WAITS: &str = "its waits end with the container's exit file, and not with its removal";
const POLICIES: &str = "it restarts at once, without pauses that double";
const NAMES: &str = "500 for a taken name, other words for what is ambiguous";
const OPTIONS: &str = "options are checked when it starts, or not at all; errors are 500";
const REFUSALS: &str = "500 where a state doesn't allow it; texts of its own";
const STREAMS: &str = "attach gives both streams, ends with the first client's input, and has no frames for what was logged";
const LOGS: &str = "drivers and times of its own (k8s-file, to the second), no attributes";
const EXECS: &str = "starts by another process, so texts, sizes and what is remembered differ";
const OBSERVE: &str = "`top` is its own, and what it mounts shows among the changes";
const COPIES: &str = "texts of its own, 500 for archives that are none";
const IMAGES: &str = "names are full (docker.io/…), parents aren't kept, errors are 500";
const ARCHIVES: &str = "archives are Docker's alone, errors are 500";
const VOLUMES: &str = "no anonymous ones, errors are 500";
const NETWORKS: &str =
    "its networks are netavark's or CNI's: other names, no kinds for none and host";
const EVENTS: &str =
    "events of its own: no kill, stop or exec_die, but init and cleanup; labels are left out";
const HEALTH: &str = "checks are run by systemd's timers, which there are none of here; API 1.41 has no start interval";
const SYSTEM: &str = "counts and sizes of its own, errors are 500";
const CROWD: &str = "races between requests give 500";
const CANCEL: &str = "a taken name is 500, so that who asks again can't tell";

/// By check.
#[rustfmt::skip]
pub(crate) const PODMAN: &[Known] = &[
    ("exits::a_failed_start_can_be_tried_again", "not found in $PATH: No such file or directory: O", EXITS),
    ("exits::a_command_that_cannot_run", "runtime.start_container(&id).await: should be In", EXITS),
    ("exits::a_command_that_is_not_there", "not found in $PATH: No such file or directory: O", EXITS),
    ("states::created", "failed: the image as the user named it", STATES),
    ("states::a_paused_container_can_be_killed_and_removed", "kill: timed out waiting for file", STATES),
    ("states::listed_newest_first", "left == right", STATES),
    ("states::sizes_where_they_are_asked_for", "left == right", STATES),
    ("life::stopping_what_does_not_run_changes_nothing", "left == right", LIFE),
    ("life::the_containers_own_grace_and_signal_count", "left == right", LIFE),
    ("life::the_callers_signal_counts_most", "a stop's own signal needs an engine of API", LIFE),
    ("life::stop_of_a_paused_container_wakes_it", "is running or paused, refusing to clean up: cont", LIFE),
    ("waits::not_running_is_now_where_it_does_not_run", "created", WAITS),
    ("waits::every_condition_registered_before_the_exit", "left == right", WAITS),
    ("states::restarting", "it is between two runs: not so after 30s: Contai", STATES),
    ("waits::many_may_wait", "left == right", WAITS),
    ("waits::of_one_that_removes_itself", "left == right", WAITS),
    ("states::a_start_between_two_runs", "it is between two runs: not so after 30s: Contai", STATES),
    ("policies::on_failure_counts", "left == right", POLICIES),
    ("policies::the_pauses_double", ", not 800ms", POLICIES),
    ("names::a_prefix_must_fit_one", "more than one result for container ID 6: contain", NAMES),
    ("names::a_taken_name", "runtime.create_container(spec).await: should be", NAMES),
    ("names::bad_names", "runtime.create_container(spec).await: should be", NAMES),
    ("names::rename", "no entry found for key", NAMES),
    ("names::a_name_has_one_owner", "container create: creating container storage: th", NAMES),
    ("options::bad_ones_are_refused_by_name", "runtime.create_container(spec).await: should be", OPTIONS),
    ("waits::removal_ends_every_wait", "the end of a wait: nothing after 30s", WAITS),
    ("options::nothing_to_run", "container create: no command or entrypoint provi", OPTIONS),
    ("options::an_unknown_health_check_is_told", ", warnings: [] }", OPTIONS),
    ("waits::a_failed_start_is_an_exit", "the end of a wait: nothing after 30s", WAITS),
    ("options::references_to_what_is_not_there", "container create: looking up container to share", OPTIONS),
    ("options::defaults_are_shown", "left == right", OPTIONS),
    ("refusals::of_a_created_container", "is in state created: container state improper", REFUSALS),
    ("refusals::of_an_exited_container", "is in state exited: container state improper", REFUSALS),
    ("refusals::unpausing_what_is_not_paused", "runtime.unpause_container(&id).await: should be", REFUSALS),
    ("policies::always_restarts_until_it_is_stopped", "left == right", POLICIES),
    ("refusals::of_a_paused_container", "r.pause_container(&id).await: should be InvalidS", REFUSALS),
    ("refusals::of_a_running_container", "as it is running - running or paused containers", REFUSALS),
    ("refusals::invalid_signals", "runtime.kill_container(&id, signal).await: shoul", REFUSALS),
    ("refusals::unknown_containers", "the daemon answered 404 Not Found", REFUSALS),
    ("refusals::unknown_images", "nosuch-refusals-unknown-images-6191fa8301: image", REFUSALS),
    ("streams::only_the_streams_that_are_asked_for", "assertion failed: out.iter().all(|(kind, _)| *ki", STREAMS),
    ("streams::input_that_is_kept_open", "the output ends before", STREAMS),
    ("streams::logs_first_without_a_gap_or_a_repeat", "Result::unwrap()", STREAMS),
    ("streams::only_logs", "the daemon's answer to an output stream makes no", STREAMS),
    ("streams::a_failed_start_ends_the_streams", "not found in $PATH: No such file or directory: O", STREAMS),
    ("logs::follow_has_no_hole", "left == right", LOGS),
    ("logs::since_and_until", "left == right", LOGS),
    ("logs::the_driver_local", "create: container create: running container crea", LOGS),
    ("logs::the_driver_none_keeps_nothing", "': this container is using the 'none' log driver", LOGS),
    ("logs::attributes_that_were_asked_for", "left == right", LOGS),
    ("refusals::of_a_restarting_container", "it waits for long: not so after 30s: ContainerSt", REFUSALS),
    ("execs::what_cannot_run", "not found in $PATH: No such file or directory: O", EXECS),
    ("streams::a_terminals_size", "in the output: nothing after 30s", STREAMS),
    ("execs::the_containers_end_ends_it", "assertion failed: s.inspect(&id).await.exec_ids.", EXECS),
    ("execs::its_life_as_inspected", "the exec is forgotten: not so after 30s: Contain", EXECS),
    ("execs::a_terminal", "in the output: nothing after 30s", EXECS),
    ("execs::many_at_once", "tart exec: 2", EXECS),
    ("observe::bad_arguments_of_ps", ").await: should be InvalidArgument, succeeds", OBSERVE),
    ("observe::one_reading", "the engine at unix://", OBSERVE),
    ("execs::detached", "the exec does not end: Exec { id:", EXECS),
    ("observe::changes_of_a_running_container", "failed: what the runtime itself mounts is no cha", OBSERVE),
    ("copies::stat", "left == right", COPIES),
    ("copies::out", "left == right", COPIES),
    ("copies::into", "index out of bounds: the len is 0 but the index", COPIES),
    ("copies::wrong_paths", "r.read_path(&id, path).await: the text", COPIES),
    ("copies::into_what_is_no_directory", ", tar_of(&[(", COPIES),
    ("copies::directories_and_others_do_not_replace_each_other", "error during bulk transfer for copier.request{Re", COPIES),
    ("copies::hostile_archives", ".repeat(40)).await: should be InvalidArgument, i", COPIES),
    ("copies::read_only_roots_are_not_written", "result: should be Forbidden, succeeds", COPIES),
    ("images::inspected_and_listed", "assertion failed: plain.iter().all(|image| image", IMAGES),
    ("images::history", "left == right", IMAGES),
    ("images::commit_of_a_running_container", "runtime.commit_container(request).await: should", IMAGES),
    ("observe::processes", "1 root     sh -c sleep 777 & sleep 888 & wait", OBSERVE),
    ("images::the_last_name_takes_the_image_with_it", "left == right", IMAGES),
    ("images::several_names_keep_an_image", "runtime.remove_image(&id, PLAIN).await: should b", IMAGES),
    ("images::containers_keep_an_image", ": image is in use by a container: consider listi", IMAGES),
    ("images::children_keep_an_image", "runtime.remove_image(&parent, PLAIN).await: shou", IMAGES),
    ("images::prune", "PrunedImages { removed: [Deleted(", IMAGES),
    ("images::bad_pulls", "normalizing image: normalizing name for compat A", IMAGES),
    ("archives::save_and_load", "index.json is in the archive", ARCHIVES),
    ("archives::hostile_archives_are_refused", "failed to load image: payload does not match any", ARCHIVES),
    ("archives::import", "runtime.import_image(request).await: should be I", ARCHIVES),
    ("images::commit_then_run", "event commit: nothing after 30s", IMAGES),
    ("volumes::made_and_removed", "event create: nothing after 30s", VOLUMES),
    ("images::tags", "event tag: nothing after 30s", IMAGES),
    ("execs::events", "event exec_create: sh -c exit 9: nothing after 3", EXECS),
    ("volumes::bad_ones_are_refused", "running volume create option: names must match [", VOLUMES),
    ("volumes::anonymous_ones_go_with_their_container", "assertion failed: s.runtime.inspect_volume(&name", VOLUMES),
    ("volumes::files_outlive_containers", "volume volumes-files-outlive-containers-813a6d96", VOLUMES),
    ("volumes::bad_mounts_are_refused", "runtime.create_container(spec).await: should be", VOLUMES),
    ("volumes::a_tmpfs_is_new_in_every_run", "index out of bounds: the len is 0 but the index", VOLUMES),
    ("networks::predefined", "bridge", NETWORKS),
    ("volumes::prune", "only anonymous ones: Pruned { deleted: [", VOLUMES),
    ("networks::a_container_on_the_bridge", "no entry found for key", NETWORKS),
    ("networks::none_and_host", "left == right", NETWORKS),
    ("networks::published_ports", "only once it runs", NETWORKS),
    ("networks::every_container_has_an_address_of_its_own", "no entry found for key", NETWORKS),
    ("networks::another_containers_network", "assertion failed: s.inspect(&second).await.netwo", NETWORKS),
    ("networks::one_in_use_stays", "left == right", NETWORKS),
    ("events::of_a_run", "left == right", EVENTS),
    ("events::of_a_stop", "event kill: nothing after 30s", EVENTS),
    ("networks::connect_and_disconnect", "event connect: nothing after 30s", NETWORKS),
    ("events::of_one_that_removes_itself", "event destroy: nothing after 30s", EVENTS),
    ("networks::made_and_removed", "event create: nothing after 30s", NETWORKS),
    ("events::of_pausing", "left == right", EVENTS),
    ("events::of_a_stop_that_kills", "left == right", EVENTS),
    ("events::of_a_restart", "left == right", EVENTS),
    ("events::replayed_from_a_time_on", "left == right", EVENTS),
    ("health::failures_in_the_start_period_do_not_count", "create: the health check's start interval needs", HEALTH),
    ("health::a_check_that_hangs_or_cannot_run", "), finished_at: None, health: Some(Health { stat", HEALTH),
    ("system::version_and_info", ", containers: 15, running: 5, paused: 0, stopped", SYSTEM),
    ("system::disk_usage", "assertion failed: usage.layers_size > 0", SYSTEM),
    ("system::prune_of_containers", "runtime.prune_containers(&bad).await: should be", SYSTEM),
    ("crowd::twenty_clients_of_one_container", "unable to restart a container in a paused or unk", CROWD),
    ("crowd::one_of_many_wins", "does not exist in database: no such container", CROWD),
    ("crowd::removal_amid_everything", "act 2: Backend(", CROWD),
    ("cancel::a_dropped_creation", "container create: creating container storage: th", CANCEL),
    ("cancel::a_reader_that_does_not_read", "left == right", CANCEL),
    ("events::what_is_told_is_true", "event destroy: nothing after 30s", EVENTS),
    ("health::healthy_and_unhealthy", "event health_status: healthy: nothing after 30s", HEALTH),
    ("health::checks_end_with_the_run", "event health_status: healthy: nothing after 30s", HEALTH),
];
