// child.hpp: a process that was started here, and how its end is learnt.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include <lagoon/error.hpp>
#include <lagoon/process.hpp>

#include "os.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

/// A process that was started here.
struct Child {
    Child() = default;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    /// In a forked child nothing of it is given back.
    ~Child();

    pid_t pid = 0;
    os::Fd pidfd;   // none where the kernel or a sandbox refuses it
    os::Fd report;  // what the worker tells, see WorkerReport; closed with its end
    std::uint64_t epoch = process_epoch();
    Attachment* arena = nullptr;  // one handle, until the end is known: workers watch our member
    bool launched = false;        // by a launcher
    std::string function;

    std::mutex mutex;  // of what follows
    std::optional<ExitStatus> ended;
    std::optional<Error> failure;  // why the worker never began
};

/// How the child ended, without waiting. What it learns stays learnt.
std::optional<ExitStatus> collect(Child& child);
/// As collect, waiting to the deadline or a stop request.
std::optional<ExitStatus> wait_for(Child& child, Deadline deadline, const std::stop_token& stop);

}  // namespace lagoon::inline v1::detail
