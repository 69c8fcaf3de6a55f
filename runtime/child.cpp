// child.cpp: learning how a process ended, by a pidfd where there is one.
#include "child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "worker.hpp"

namespace lagoon::inline v1::detail {

namespace {

/// After the end: did the worker reach the arena, and if not, why?
void read_report(Child& child) {
    WorkerReport report{};
    std::string text(report_text_limit, '\0');
    const ssize_t got = ::pread(child.report.get(), &report, sizeof report, 0);
    const ssize_t more = ::pread(child.report.get(), text.data(), text.size(), sizeof report);
    child.report = os::Fd{};
    const std::string who = "worker " + child.function + " (pid " + std::to_string(child.pid) + ")";
    if (got == sizeof report && report.stage == report_failed) {
        text.resize(std::min<std::size_t>(report.text_bytes, more > 0 ? std::size_t(more) : 0));
        child.failure = Error{static_cast<Errc>(report.errc), who + " could not begin: " + text};
        return;
    }
    const ExitStatus& ended = *child.ended;
    if (report.stage == report_attached || ended.how != Ended::exited) return;
    if (ended.code == exit_orphaned) return;
    // Behind a launcher the report may have got lost (another user, another PID namespace).
    if (child.launched && ended.code != exit_not_a_worker) return;
    child.failure =
        Error{Errc::worker_never_attached,
              who + " exited with " + std::to_string(ended.code) + " and never reached arena '" +
                  name_of(child.arena) +
                  "': does the main of its program begin with lagoon::run_if_worker(argc, argv)?"};
}

ExitStatus status_of(const ::siginfo_t& info) noexcept {
    if (info.si_code == CLD_EXITED) return {.how = Ended::exited, .code = info.si_status};
    return {.how = Ended::signaled, .signal = info.si_status};
}

bool readable_now(int fd) noexcept {
    ::pollfd watched{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&watched, 1, 0) > 0;
}

/// Makes a stop request readable. Without it (no descriptors left) the waiter looks often.
class StopSignal {
public:
    explicit StopSignal(const std::stop_token& token)
        : event_{token.stop_possible() ? ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1},
          callback_{token, Poke{event_.get()}} {}
    [[nodiscard]] int fd() const noexcept { return event_.get(); }

private:
    struct Poke {
        int fd;
        void operator()() const noexcept {
            const std::uint64_t one = 1;
            if (fd >= 0) (void)!::write(fd, &one, sizeof one);
        }
    };
    os::Fd event_;
    std::stop_callback<Poke> callback_;
};

/// Sleeps until the child may have ended, a stop, the deadline, or for a little while.
void sleep_on(Child& child, const StopSignal& stop, bool stoppable, Deadline deadline) {
    using std::chrono::milliseconds;
    milliseconds most{1 << 30};
    if (deadline != for_ever) {
        const auto left = deadline - std::chrono::steady_clock::now();
        most = std::min(most, std::chrono::ceil<milliseconds>(left));
    }
    int fd = -1;
    {
        // Another thread may collect the child, and close its descriptor, while we sleep: ours.
        const std::scoped_lock lock{child.mutex};
        if (child.ended) return;
        if (child.pidfd) fd = ::fcntl(child.pidfd.get(), F_DUPFD_CLOEXEC, 3);
    }
    const os::Fd watched{fd};
    if (!watched || (stoppable && stop.fd() < 0)) most = std::min(most, milliseconds{5});
    ::pollfd both[2] = {{.fd = watched.get(), .events = POLLIN, .revents = 0},
                        {.fd = stop.fd(), .events = POLLIN, .revents = 0}};
    (void)::poll(both, 2, static_cast<int>(std::max(most, milliseconds{0}).count()));
}

}  // namespace

Child::~Child() {
    if (arena != nullptr && epoch == process_epoch()) drop_handle(arena);
}

std::optional<ExitStatus> collect(Child& child) {
    const std::scoped_lock lock{child.mutex};
    if (child.ended && !child.report) return child.ended;
    if (!child.ended) {
        ::siginfo_t info{};
        const bool by_fd = static_cast<bool>(child.pidfd);
        const auto kind = by_fd ? static_cast<idtype_t>(P_PIDFD) : P_PID;
        const auto id = static_cast<id_t>(by_fd ? child.pidfd.get() : child.pid);
        if (::waitid(kind, id, &info, WEXITED | WNOHANG) == 0) {
            if (info.si_pid == 0) return {};
            child.ended = status_of(info);
        } else if (errno == EINTR || (by_fd && !readable_now(child.pidfd.get()))) {
            return {};
        } else {
            child.ended = ExitStatus{.how = Ended::unknown};
        }
    }
    read_report(child);
    child.pidfd = os::Fd{};
    if (child.arena != nullptr) drop_handle(std::exchange(child.arena, nullptr));
    return child.ended;
}

std::optional<ExitStatus> wait_for(Child& child, Deadline deadline, const std::stop_token& stop) {
    const StopSignal signal{stop};
    for (;;) {
        if (auto ended = collect(child)) return ended;
        if (stop.stop_requested() || std::chrono::steady_clock::now() >= deadline) return {};
        sleep_on(child, signal, stop.stop_possible(), deadline);
    }
}

}  // namespace lagoon::inline v1::detail
