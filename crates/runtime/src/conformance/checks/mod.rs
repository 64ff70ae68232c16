//! The checks, by what they are about.

use super::run::Check;

mod archives;
mod cancel;
mod capabilities;
mod copies;
mod crowd;
mod events;
mod execs;
mod exits;
mod health;
mod images;
mod kernels;
mod life;
mod links;
mod logs;
mod names;
mod networks;
mod observe;
mod options;
mod policies;
mod refusals;
mod secrets;
mod states;
mod streams;
mod system;
mod volumes;
mod waits;

/// All checks, by group: what is missing here is dead code to the compiler.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_checks {
    ($with:ident!($($args:tt)*)) => {
        $crate::$with! {
            ($($args)*)
            exits {
                codes
                a_command_that_is_not_there
                a_command_that_cannot_run
                a_failed_start_can_be_tried_again
                killed_is_137
                a_child_that_is_terminated_is_143
                a_handler_chooses_the_code
                the_first_process_does_not_die_of_signals_it_ignores
                under_an_init_process_term_is_143
                an_init_process_passes_the_exit_code_on
            }
            states {
                created
                running_and_exited
                paused
                a_paused_container_can_be_killed_and_removed
                restarting
                a_start_between_two_runs
                removed
                removed_by_force
                listed_newest_first
                sizes_where_they_are_asked_for
            }
            life {
                starting_what_runs_changes_nothing
                stopping_what_does_not_run_changes_nothing
                stop_asks_first
                stop_kills_after_the_grace
                without_grace_stop_kills_at_once
                the_containers_own_grace_and_signal_count
                the_callers_signal_counts_most
                stop_of_a_paused_container_wakes_it
                many_stops_at_once
                signals_are_delivered
                restart_of_what_runs
                restart_of_what_does_not_run
                runs_follow_each_other
            }
            waits {
                not_running_is_now_where_it_does_not_run
                every_condition_registered_before_the_exit
                next_exit_is_not_the_last_one
                no_exit_is_missed
                many_may_wait
                of_one_that_removes_itself
                removal_ends_every_wait
                a_failed_start_is_an_exit
                the_end_of_a_run_counts_though_a_restart_follows
            }
            policies {
                auto_remove
                auto_remove_after_a_failed_start
                on_failure_counts
                the_pauses_double
                on_failure_leaves_success_alone
                always_restarts_until_it_is_stopped
                a_kill_is_no_failure
                a_new_policy_stops_the_restarts
            }
            names {
                a_container_is_found_by_name_and_id
                a_prefix_must_fit_one
                a_name_is_made_up
                a_taken_name
                bad_names
                rename
                a_name_has_one_owner
            }
            options {
                bad_ones_are_refused_by_name
                an_unknown_health_check_is_told
                nothing_to_run
                references_to_what_is_not_there
                environment_directory_and_host_name
                entry_point_and_command
                users
                a_read_only_root
                defaults_are_shown
            }
            refusals {
                of_a_created_container
                of_an_exited_container
                unpausing_what_is_not_paused
                of_a_running_container
                of_a_paused_container
                of_an_exec_whose_container_was_paused
                of_a_restarting_container
                invalid_signals
                unknown_containers
                unknown_execs
                unknown_images
            }
            streams {
                before_the_start_all_is_seen
                a_process_that_writes_nothing
                only_the_streams_that_are_asked_for
                input_comes_back_up_to_its_end
                input_before_the_start_is_kept
                much_input
                much_output
                without_open_input_there_is_none
                input_that_is_kept_open
                detaching_leaves_the_process_alone
                many_at_once_see_the_same
                logs_first_without_a_gap_or_a_repeat
                logs_and_the_next_run
                only_logs
                a_terminal
                control_keys
                a_terminals_size
                a_failed_start_ends_the_streams
                removal_ends_the_streams
            }
            logs {
                lines_of_both_streams
                nothing_logged
                tail
                since_and_until
                follow_ends_with_the_run
                follow_has_no_hole
                follow_with_a_tail
                follow_ends_with_the_container
                the_log_outlives_the_run
                long_lines_are_whole
                a_terminals_log_is_one_stream
                the_driver_none_keeps_nothing boot_logs_are_machines
                the_driver_local
                attributes_that_were_asked_for
            }
            execs {
                exit_codes
                both_streams
                its_life_as_inspected
                input_comes_back_up_to_its_end
                a_terminal
                environment_directory_and_user
                what_cannot_run
                detached
                the_containers_end_ends_it
                detaching_leaves_it_alone
                events
                many_at_once
            }
            observe {
                processes
                bad_arguments_of_ps
                one_reading
                a_stream_of_readings
                a_memory_limit_is_shown
                changes
                changes_of_a_running_container
                update
                a_policy_for_what_removes_itself
            }
            copies {
                stat
                out
                into
                while_it_runs
                wrong_paths
                into_what_is_no_directory
                directories_and_others_do_not_replace_each_other
                hostile_archives
                read_only_roots_are_not_written
                export
            }
            images {
                inspected_and_listed
                history
                commit_then_run
                commit_of_a_running_container
                tags
                the_last_name_takes_the_image_with_it
                several_names_keep_an_image
                containers_keep_an_image
                children_keep_an_image
                prune
                pull
                bad_pulls
            }
            archives {
                save_and_load
                hostile_archives_are_refused
                import
            }
            kernels {
                installed_chosen_and_removed
                bad_ones_are_refused
            }
            volumes {
                made_and_removed
                bad_ones_are_refused
                with_a_size
                files_outlive_containers
                two_containers_share_one
                an_empty_one_is_filled_from_the_image
                anonymous_ones_go_with_their_container
                volumes_from_another
                a_tmpfs_is_new_in_every_run
                bad_mounts_are_refused
                prune
            }
            secrets {
                secrets_made_and_removed
                configs_show_their_value
                bad_secrets_are_refused
                a_container_reads_them
                bad_references_are_refused
                a_new_key_changes_nothing
            }
            links {
                shown_and_removed
                told_to_each_exec
                that_lead_nowhere
            }
            networks {
                predefined
                a_container_on_the_bridge
                every_container_has_an_address_of_its_own
                a_network_without_ipv4
                none_and_host
                another_containers_network
                published_ports
                made_and_removed
                one_in_use_stays
                connect_and_disconnect
            }
            events {
                of_a_run
                of_one_that_removes_itself
                of_a_stop
                of_a_stop_that_kills
                of_a_restart
                of_pausing
                what_is_told_is_true
                replayed_from_a_time_on
                numbered_without_a_gap
            }
            health {
                healthy_and_unhealthy
                failures_in_the_start_period_do_not_count
                turned_off
                a_check_that_hangs_or_cannot_run
                checks_end_with_the_run
            }
            system {
                version_and_info
                disk_usage
                prune_of_containers
                labels_can_be_excluded
            }
            crowd {
                fifty_containers_at_once
                twenty_clients_of_one_container
                one_of_many_wins
                removal_amid_everything
                lists_while_containers_come_and_go
            }
            cancel {
                a_dropped_creation
                a_dropped_start
                a_dropped_exec
                a_dropped_stop
                dropped_waits
                dropped_streams
                a_reader_that_does_not_read
                an_archive_that_is_not_read
            }
            capabilities {
                what_is_not_declared_is_not_supported
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    (() $($group:ident { $($name:ident)* })*) => {
        &[$($(
            Check {
                name: concat!(stringify!($group), "::", stringify!($name)),
                run: |subject| Box::pin($group::$name(subject)),
            },
        )*)*]
    };
}

/// Every check there is.
pub const CHECKS: &[Check] = __conformance_checks! { __conformance_list!() };
