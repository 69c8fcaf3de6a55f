// process.cpp: starting a process for a function, and the handle on it.
#include <lagoon/process.hpp>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <ostream>
#include <utility>

#include <lagoon/local.hpp>

#include "attachment.hpp"
#include "child.hpp"
#include "os.hpp"
#include "process_state.hpp"
#include "worker.hpp"

extern char** environ;

namespace lagoon::inline v1::detail {

namespace {

constexpr std::size_t arguments_limit = std::size_t{1} << 20;
constinit std::vector<ChildHandle>* detached = nullptr;  // under the process lock

[[noreturn]] void throw_spawn_failed(const std::string& what, int error) {
    throw Error{Errc::spawn_failed, what + ": " + os::error_text(error), error};
}

/// posix_spawn's two objects, freed.
class SpawnSettings {
public:
    SpawnSettings() {
        ::posix_spawnattr_init(&attributes);
        ::posix_spawn_file_actions_init(&actions);
        ::sigset_t all;
        ::sigset_t none;
        ::sigfillset(&all);
        ::sigemptyset(&none);
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        ::posix_spawnattr_setsigdefault(&attributes, &all);
        ::posix_spawnattr_setsigmask(&attributes, &none);
        if (::posix_spawn_file_actions_addclosefrom_np(&actions, 3) != 0) throw std::bad_alloc{};
    }
    SpawnSettings(const SpawnSettings&) = delete;
    SpawnSettings& operator=(const SpawnSettings&) = delete;
    ~SpawnSettings() {
        ::posix_spawn_file_actions_destroy(&actions);
        ::posix_spawnattr_destroy(&attributes);
    }

    ::posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_t actions;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> list;
    for (std::string& text : texts) list.push_back(text.data());
    list.push_back(nullptr);
    return list;
}

/// The running program's file: its path, as a name in ps and under valgrind needs it, or what the
/// kernel keeps of a file that was deleted or replaced.
std::string own_program(bool launched) {
    std::string path(4096, '\0');
    const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
    if (length < 0) throw_spawn_failed("the program's own file is not known without /proc", errno);
    path.resize(static_cast<std::size_t>(length));
    struct ::stat found {};
    if (path.ends_with(" (deleted)") && ::stat(path.c_str(), &found) != 0) {
        // A launcher's own /proc/self/exe is the launcher.
        return launched ? "/proc/" + std::to_string(::getpid()) + "/exe" : "/proc/self/exe";
    }
    return path;
}

std::vector<std::string> command_line(const SpawnOptions& options) {
    std::vector<std::string> line = options.launcher;
    if (!options.program.empty()) {
        line.push_back(options.program);
    } else if (!line.empty()) {
        line.push_back(own_program(true));
    } else {
        line.emplace_back(program_invocation_name);
    }
    return line;
}

std::vector<std::string> environment_for(const SpawnOptions& options, const WorkerOrder& order) {
    std::vector<std::string> variables = order_to_environment(order);
    for (const auto& [name, value] : options.environment) {
        if (name.empty() || name.find('=') != std::string::npos || is_order_variable(name + '=')) {
            throw Error{Errc::invalid_argument,
                        "'" + name + "' cannot be the name of an environment variable here"};
        }
        variables.push_back(name + '=' + value);
    }
    for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
        const std::string_view variable{*each};
        const std::string_view name = variable.substr(0, variable.find('='));
        const auto same = [name](const auto& added) { return added.first == name; };
        if (is_order_variable(variable) || std::ranges::any_of(options.environment, same)) continue;
        variables.emplace_back(variable);
    }
    return variables;
}

WorkerOrder order_for(const SpawnRequest& request, const WorkerReport& report, int report_fd) {
    const TaskPlace place = place_of(request.node);
    const std::string& program = request.options.program;
    WorkerOrder order;
    order.function = request.node.name();
    order.offset = place.offset;
    order.module = place.module;
    order.same_program = program.empty() || os::file_at(program) == os::file_at("/proc/self/exe");
    order.arena = name_of(&request.arena);
    order.directory = directory_of(&request.arena);
    order.arena_id = header_of(&request.arena).id;
    struct ::stat file {};
    if (::stat(request.arena.path.c_str(), &file) == 0) order.owner = file.st_uid;
    order.parent = member_id(&request.arena);
    constexpr auto longest =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::nanoseconds::max());
    order.grace_ns = std::chrono::nanoseconds{std::min(request.options.grace, longest)}.count();
    order.report_pid = ::getpid();
    order.report_fd = report_fd;
    order.report_token = report.token;
    order.arguments = request.arguments;
    return order;
}

/// A file in memory that the worker opens through /proc; nothing of it is inherited.
os::Fd make_report(WorkerReport& report, const std::string& directory) {
    os::random_bytes(&report.token, sizeof report.token);
    os::Fd file{::memfd_create("lagoon-worker-report", MFD_CLOEXEC)};
    // A sandbox may not know that call; an unnamed file beside the arena does as well.
    if (!file) file = os::Fd{::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (!file || ::pwrite(file.get(), &report, sizeof report, 0) != sizeof report) {
        throw_spawn_failed("no file for the worker's report", errno);
    }
    return file;
}

void start(Child& child, const SpawnOptions& options, const WorkerOrder& order) {
    std::vector<std::string> arguments = command_line(options);
    std::vector<std::string> environment = environment_for(options, order);
    const bool own = options.launcher.empty() && options.program.empty();
    const std::string file = own ? own_program(false) : arguments.front();
    SpawnSettings settings;
    const int error =
        ::posix_spawnp(&child.pid, file.c_str(), &settings.actions, &settings.attributes,
                       pointers(arguments).data(), pointers(environment).data());
    if (error == E2BIG) {
        throw Error{Errc::too_large,
                    "the arguments of " + child.function + " (" +
                        std::to_string(order.arguments.size()) +
                        " bytes) and the environment are more than this system lets a new process "
                        "have (a quarter of the stack limit): put the data into the arena",
                    error};
    }
    if (error != 0) throw_spawn_failed("'" + file + "' could not be started", error);
    child.pidfd = os::open_process(static_cast<std::uint32_t>(child.pid));
    ::siginfo_t info{};
    // Where SIGCHLD is ignored the number may lead to somebody else by now, who is no child.
    if (child.pidfd &&
        ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()), &info,
                 WEXITED | WNOHANG | WNOWAIT) != 0) {
        child.ended = ExitStatus{.how = Ended::unknown};
    }
}

/// Collects detached children that have ended, so that they do not stay zombies for ever.
void sweep_detached(ChildHandle newcomer) {
    std::vector<ChildHandle> list;
    {
        const ProcessLock lock;
        if (detached == nullptr) detached = new std::vector<ChildHandle>;
        list.swap(*detached);
    }
    if (list.empty() && newcomer == nullptr) return;
    if (newcomer != nullptr) list.push_back(std::move(newcomer));
    std::erase_if(list, [](const auto& child) {
        return child->epoch == process_epoch() && collect(*child).has_value();
    });
    const ProcessLock lock;
    std::ranges::move(list, std::back_inserter(*detached));
}

}  // namespace

void ChildDelete::operator()(Child* child) const noexcept { delete child; }

void abandon(void* memory) noexcept {
    const ProcessLock lock;
    static constinit std::vector<void*>* kept = nullptr;
    if (kept == nullptr) kept = new std::vector<void*>;
    kept->push_back(memory);
}

ChildHandle spawn(const SpawnRequest& request) {
    require_started_properly();
    const SpawnOptions& options = request.options;
    if (options.program.empty() && !run_if_worker_was_called()) {
        throw Error{Errc::run_if_worker_missing,
                    "this program cannot be started as a worker: main must begin with "
                    "lagoon::run_if_worker(argc, argv)"};
    }
    if (options.grace < std::chrono::milliseconds{0}) {
        throw Error{Errc::invalid_argument, "SpawnOptions::grace is negative"};
    }
    ChildHandle child{new Child};
    child->function = function_name(request.node.name());
    if (request.arguments.size() > arguments_limit) {
        throw Error{Errc::too_large, "the arguments of " + child->function + " are " +
                                         std::to_string(request.arguments.size()) +
                                         " bytes; 1 MiB can be sent: put the data into the arena"};
    }
    sweep_detached(nullptr);
    WorkerReport report{};
    child->report = make_report(report, directory_of(&request.arena));
    child->launched = !options.launcher.empty();
    ensure_member(&request.arena);
    add_handle(&request.arena);
    child->arena = &request.arena;
    start(*child, options, order_for(request, report, child->report.get()));
    return child;
}

}  // namespace lagoon::inline v1::detail

namespace lagoon::inline v1 {

Process& Process::operator=(Process&& other) noexcept {
    if (this != &other) {
        Process before{std::move(*this)};
        child_ = std::move(other.child_);
    }
    return *this;
}

Process::~Process() {
    if (child_ == nullptr) return;
    if (child_->epoch != detail::process_epoch()) {
        // The parent's: nothing of it is ours to wait for, close or give back.
        (void)child_.release();
        return;
    }
    try {
        (void)detail::wait_for(*child_, detail::for_ever, {});
    } catch (...) {  // what join would throw is not asked for
    }
}

detail::Child& Process::child() const {
    if (child_ == nullptr) {
        throw Error{Errc::invalid_argument, "this Process stands for no process"};
    }
    if (child_->epoch != detail::process_epoch()) {
        throw Error{Errc::invalid_argument,
                    "this Process belongs to the process that this one was forked from"};
    }
    return *child_;
}

ExitStatus Process::join(std::stop_token stop) {
    detail::Child& ours = child();
    const auto ended = detail::wait_for(ours, detail::for_ever, stop);
    if (!ended) return {};
    const std::scoped_lock lock{ours.mutex};
    if (ours.failure) throw Error{*ours.failure};
    return *ended;
}

bool Process::join_until(std::chrono::steady_clock::time_point deadline, std::stop_token stop) {
    return detail::wait_for(child(), deadline, stop).has_value();
}

std::optional<ExitStatus> Process::exit_status() const { return detail::collect(child()); }

bool Process::running() const { return child_ != nullptr && !exit_status(); }

bool Process::kill(int signal) {
    detail::Child& ours = child();
    if (detail::collect(ours)) return false;
    const std::scoped_lock lock{ours.mutex};
    if (ours.ended) return false;
    if (ours.pidfd ? os::send_signal(ours.pidfd, signal) : ::kill(ours.pid, signal) == 0) {
        return true;
    }
    if (errno == ESRCH) return false;
    throw Error{errno == EINVAL ? Errc::invalid_argument : Errc::not_permitted,
                "signal " + std::to_string(signal) + " could not be sent to worker " +
                    ours.function + " (pid " + std::to_string(ours.pid) +
                    "): " + os::error_text(errno),
                errno};
}

int Process::pid() const { return child().pid; }

void Process::detach() {
    (void)child();
    detail::sweep_detached(std::move(child_));
}

std::string to_string(const ExitStatus& status) {
    switch (status.how) {
        case Ended::running: return "running";
        case Ended::exited: return "exited " + std::to_string(status.code);
        case Ended::unknown: return "unknown";
        case Ended::signaled: break;
    }
    const char* description = ::sigdescr_np(status.signal);
    return "killed by signal " + std::to_string(status.signal) +
           (description != nullptr ? std::string{" ("} + description + ')' : std::string{});
}

std::ostream& operator<<(std::ostream& out, const ExitStatus& status) {
    return out << to_string(status);
}

}  // namespace lagoon::inline v1
