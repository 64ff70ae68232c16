//! What is known to differ, by engine and check, and why. A line goes away with its reason; none is
//! ever added to hide a fault of our own.

/// A check's name, a part of what it says when it fails for this reason (or several parts, with a bar between
/// them), and the reason. What only fails in some runs has a reason that begins with [`RACE`].
pub(crate) type Known = (&'static str, &'static str, &'static str);

/// How the reason of what fails in some runs only begins.
pub(crate) const RACE: &str = "a race: ";

/// Coracle's own socket.
pub(crate) const CORACLE: &[Known] = &[];

/// dockerd 26.1 with containerd 1.7 and runc 1.1.
pub(crate) const DOCKER: &[Known] = &[
    (
        "states::a_start_between_two_runs",
        "a container that does not run",
        "to dockerd a container between two runs is running, and a start changes nothing (304)",
    ),
    (
        "options::bad_ones_are_refused_by_name",
        "Invalid isolation",
        "500 for an argument that makes no sense; others it takes and passes over, or refuses at the start",
    ),
    (
        "options::an_unknown_health_check_is_told",
        "warnings: []",
        "it is logged, not told",
    ),
    (
        "options::references_to_what_is_not_there",
        "No such container: nosuch",
        "400 where a namespace or volumes are another container's, 404 where the network is",
    ),
    (
        "refusals::invalid_signals",
        "invalid signal: NOSUCH",
        "500 of a stop, 400 of a kill",
    ),
    (
        "waits::a_failed_start_is_an_exit",
        "the end of a wait",
        "a failed start ends no wait; its own client stops waiting by itself",
    ),
    (
        "execs::a_terminal",
        "process does not exist",
        "404 to resize an exec that has ended",
    ),
    (
        "execs::what_cannot_run",
        "nosuch-command",
        "126 by the time it has failed, whatever the reason",
    ),
    (
        "execs::the_containers_end_ends_it",
        "No such exec instance",
        "execs go with their container's run; its documentation says 409",
    ),
    (
        "observe::bad_arguments_of_ps",
        "Couldn't find PID field",
        "500 for an argument that makes no sense",
    ),
    (
        "copies::into_what_is_no_directory",
        "extraction point is not a directory",
        "500; its documentation says 400",
    ),
    (
        "copies::read_only_roots_are_not_written",
        "marked read-only",
        "500; its documentation says 403",
    ),
    (
        "copies::hostile_archives",
        "invalid tar header",
        "500; its documentation says 400",
    ),
    (
        "copies::directories_and_others_do_not_replace_each_other",
        "cannot overwrite directory",
        "500 for what was asked to be refused",
    ),
    (
        "images::prune",
        "failed to parse value as time or duration",
        "500 for images, 400 for containers",
    ),
    (
        "archives::import",
        "unexpected EOF",
        "500 for an archive that is none",
    ),
    (
        "volumes::bad_mounts_are_refused",
        "invalid volume specification",
        "500 for an argument that makes no sense",
    ),
    (
        "streams::removal_ends_the_streams",
        "the output: nothing after",
        "who is attached to a container that never ran is not told of its removal",
    ),
    (
        "networks::a_network_without_ipv4",
        "should hold",
        "needs API 1.48, which is not spoken",
    ),
    (
        "networks::published_ports",
        "should be InvalidArgument, succeeds",
        "a port that is none is taken, and passed over",
    ),
    (
        "networks::connect_and_disconnect",
        "is not connected to",
        "500 for a container that isn't on the network",
    ),
    (
        "events::of_a_stop_that_kills",
        "left == right",
        "a race: `stop` and `die` come in either order",
    ),
    (
        "events::of_a_stop",
        "event stop",
        "a race: `stop` and `die` come in either order",
    ),
    (
        "system::prune_of_containers",
        "a prune operation is already running",
        "a race: one prune at a time; checks run side by side",
    ),
    (
        "system::labels_can_be_excluded",
        "a prune operation is already running",
        "a race: one prune at a time; checks run side by side",
    ),
    (
        "crowd::twenty_clients_of_one_container",
        "Backend(",
        "a race: pause, stop and kill side by side give 500, where its own states refuse",
    ),
    (
        "events::replayed_from_a_time_on",
        "left == right",
        "a race: a wait may be answered before the end is told",
    ),
    (
        "crowd::one_of_many_wins",
        "Changed(true)",
        "a race: of many at once, two may be told that it was theirs",
    ),
    (
        "streams::logs_first_without_a_gap_or_a_repeat",
        "lines",
        "a race: it listens to what comes before it reads what was logged, and what falls between comes twice",
    ),
    (
        "cancel::a_reader_that_does_not_read",
        "kill: nothing after",
        "a container's end waits for clients that are attached and do not read",
    ),
];
