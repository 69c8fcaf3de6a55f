// worker.hpp: what the rest of the runtime needs to know of being a worker.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lagoon/detail/task.hpp>

namespace lagoon::inline v1::detail {

/// Ends a process that was started as a worker and has not called run_if_worker, with the remedy
/// on stderr and exit code 64. First thing of every create, open and spawn.
void require_started_properly();

[[nodiscard]] bool run_if_worker_was_called() noexcept;

/// For whoever watches the parent: makes worker_stop_token() say stop.
void request_worker_stop() noexcept;

constexpr int exit_not_a_worker = 64;  // main without run_if_worker, or nothing to run
constexpr int exit_orphaned = 65;      // the arena is gone or the parent dead

/// What a worker writes into its parent's report file, a memfd that it opens through /proc:
/// nothing has to be inherited, and it is still there when the worker is not.
struct WorkerReport {
    std::uint64_t token;  // the order's; in the file from the start
    std::uint32_t stage;  // ReportStage
    std::int32_t errc;    // of a failure
    std::uint32_t text_bytes;
    std::uint32_t reserved;
    // the text follows
};
static_assert(sizeof(WorkerReport) == 24);
enum ReportStage : std::uint32_t { report_none, report_attached, report_failed };
constexpr std::uint32_t report_text_limit = 3000;

/// Where a task's node lies; equal in every process that runs the same files.
struct TaskPlace {
    std::string module;  // empty: the main program
    std::uint64_t offset;
};
[[nodiscard]] TaskPlace place_of(const TaskNode& node);

/// The order as environment strings, "LAGOON_WORKER=2", "LAGOON_WORKER_0=..." and so on.
[[nodiscard]] std::vector<std::string> order_to_environment(const WorkerOrder& order);
[[nodiscard]] bool is_order_variable(std::string_view variable) noexcept;

/// "square(Jobs&, int)" of the mangled name of its Task.
[[nodiscard]] std::string function_name(const char* task_name);

}  // namespace lagoon::inline v1::detail
