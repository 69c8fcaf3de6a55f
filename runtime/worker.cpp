// worker.cpp: being a worker: the list of tasks, the order in the environment, the first line of
// main.
#include "worker.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <typeinfo>

#include <lagoon/process.hpp>

#include "keeper.hpp"
#include "members.hpp"
#include "os.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr const char* count_variable = "LAGOON_WORKER";
constexpr std::string_view part_prefix = "LAGOON_WORKER_";
constexpr std::size_t part_bytes = 96 * 1024;  // the kernel's limit of one string is 128 KiB

constinit std::mutex tasks_mutex;
constinit TaskNode* tasks = nullptr;
constinit Atomic<std::uint32_t> run_if_worker_called{0};
constinit bool attached = false;  // of a worker; its main thread alone

/// Thrown through the function that opens the arena, so that it is closed on the way.
struct Orphaned {};

constexpr std::string_view digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string to_base64(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size() * 4 / 3 + 4);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char byte : bytes) {
        bits = bits << 8 | static_cast<unsigned char>(byte);
        for (held += 8; held >= 6; held -= 6) text += digits[bits >> (held - 6) & 63];
    }
    if (held > 0) text += digits[bits << (6 - held) & 63];
    return text;
}

std::string from_base64(std::string_view text) {
    std::array<std::uint32_t, 256> values;
    values.fill(64);
    for (std::uint32_t i = 0; i < 64; ++i) values[static_cast<unsigned char>(digits[i])] = i;
    std::string bytes;
    bytes.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char digit : text) {
        const std::uint32_t value = values[static_cast<unsigned char>(digit)];
        if (value == 64) throw_damaged("a character that cannot be");
        bits = bits << 6 | value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes += static_cast<char>(bits >> held & 0xff);
        }
    }
    return bytes;
}

/// Takes a variable out of the environment, of this process's /proc/self/environ too.
std::string take_variable(const char* name) {
    char* value = std::getenv(name);
    if (value == nullptr) return {};
    std::string text = value;
    ::unsetenv(name);
    const std::size_t before = std::strlen(name) + 1;  // "NAME="
    std::fill_n(value - before, before + text.size(), '\0');
    return text;
}

WorkerOrder order_from_environment() {
    const std::string count_text = take_variable(count_variable);
    std::string text;
    const unsigned long count = std::strtoul(count_text.c_str(), nullptr, 10);
    for (unsigned long i = 0; i < std::min(count, 1000UL); ++i) {
        text += take_variable((std::string{part_prefix} + std::to_string(i)).c_str());
    }
    WorkerOrder order;
    std::uint32_t index = 0;
    std::uint64_t state = 0;
    std::tie(order.function, order.offset, order.module, order.same_program, order.arena,
             order.directory, order.arena_id, order.owner, index, state, order.grace_ns,
             order.report_pid, order.report_fd, order.report_token, order.arguments) =
        decode<std::string, std::uint64_t, std::string, bool, std::string, std::string,
               std::array<std::uint64_t, 2>, std::int64_t, std::uint32_t, std::uint64_t,
               std::int64_t, std::int32_t, std::int32_t, std::uint64_t, std::string>(
            from_base64(text));
    order.parent = {index, state};
    return order;
}

/// The name of a static function in a namespace: an L before one of its parts.
bool has_local_part(std::string_view name) {
    std::size_t at = name.find("L_ZN");
    if (at == std::string_view::npos) return false;
    const auto digit = [&](std::size_t i) {
        return i < name.size() && name[i] >= '0' && name[i] <= '9';
    };
    for (at += 4; digit(at);) {
        std::size_t length = 0;
        for (; digit(at); ++at) length = length * 10 + static_cast<std::size_t>(name[at] - '0');
        at += length;
        if (at < name.size() && name[at] == 'L' && digit(at + 1)) return true;
    }
    return false;
}

/// Two functions may have this name, or it means another function in another program.
bool is_local_name(const char* name) {
    const std::string spelled = demangled(name);
    return std::strstr(name, "_ZL") != nullptr || std::strstr(name, "_GLOBAL__N_") != nullptr ||
           spelled.find("{lambda(") != std::string::npos ||
           spelled.find("'lambda") != std::string::npos || std::strstr(name, "$_") != nullptr ||
           has_local_part(name);
}

TaskRunner find_task(const WorkerOrder& order) {
    if (!order.module.empty() && ::dlopen(order.module.c_str(), RTLD_NOW) == nullptr) {
        throw Error{Errc::unknown_function, "function '" + function_name(order.function.c_str()) +
                                                "' is in '" + order.module +
                                                "', which cannot be loaded: " + ::dlerror()};
    }
    const std::scoped_lock lock{tasks_mutex};
    const TaskNode* only = nullptr;
    unsigned named = 0;
    for (const TaskNode* node = tasks; node != nullptr; node = node->next()) {
        if (order.function != node->name()) continue;
        const TaskPlace place = place_of(*node);
        const bool offset_holds = order.same_program || !order.module.empty();
        if (offset_holds && place.offset == order.offset && place.module == order.module) {
            return node->run();
        }
        only = node;
        ++named;
    }
    if (named == 1 && !is_local_name(order.function.c_str())) return only->run();
    throw Error{Errc::unknown_function,
                "no function '" + function_name(order.function.c_str()) +
                    "' in the worker's program" +
                    (named > 0 ? ": one of this name has no external linkage, so that it cannot "
                                 "be told whether it is the same"
                               : ": it must be spawned or submitted somewhere in its source")};
}

void report(const WorkerOrder& order, ReportStage stage, std::int32_t errc,
            std::string_view text) noexcept {
    std::array<char, 64> path{};
    std::snprintf(path.data(), path.size(), "/proc/%d/fd/%d", order.report_pid, order.report_fd);
    const os::Fd file{::open(path.data(), O_RDWR | O_CLOEXEC)};
    WorkerReport found{};
    if (!file || ::pread(file.get(), &found, sizeof found, 0) != sizeof found) return;
    if (found.token != order.report_token) return;  // the parent is gone, this is another's file
    text = text.substr(0, report_text_limit);
    found.stage = stage;
    found.errc = errc;
    found.text_bytes = static_cast<std::uint32_t>(text.size());
    if (::pwrite(file.get(), text.data(), text.size(), sizeof found) < 0) return;
    (void)!::pwrite(file.get(), &found, sizeof found, 0);
}

/// Does the name still lead to the arena that the parent meant?
bool arena_is_the_same(const WorkerOrder& order) noexcept {
    const std::string path = order.directory + "/lagoon." + order.arena;
    const os::Fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    std::array<std::uint64_t, 2> id{};
    const auto at = static_cast<off_t>(offsetof(ArenaHeader, id));
    return file && ::pread(file.get(), id.data(), sizeof id, at) == sizeof id &&
           id == order.arena_id;
}

void print_line(const std::string& text) noexcept {
    const std::string line = text + '\n';
    (void)!::write(STDERR_FILENO, line.data(), line.size());
}

std::string heading(const WorkerOrder& order) {
    return "lagoon worker " + function_name(order.function.c_str()) + " (pid " +
           std::to_string(::getpid()) + "): ";
}

/// The exception being handled, as "std::runtime_error: what".
std::string current_exception_text() {
    const std::type_info* type = abi::__cxa_current_exception_type();
    std::string text = type != nullptr ? demangled(type->name()) : "unknown exception";
    try {
        throw;
    } catch (const std::exception& thrown) {
        text += std::string{": "} + thrown.what();
    } catch (const std::string& thrown) {
        text += ": " + thrown;
    } catch (const char* thrown) {
        text += std::string{": "} + thrown;
    } catch (...) {  // nothing more to tell
    }
    return text;
}

int run_order(const WorkerOrder& order) {
    try {
        return find_task(order)(order);
    } catch (const Orphaned&) {
        return exit_orphaned;
    } catch (const abi::__forced_unwind&) {
        throw;
    } catch (const Error& error) {
        if (!attached) {
            const bool gone = error.errc() == Errc::no_such_arena || error.errc() == Errc::closed ||
                              !arena_is_the_same(order);
            if (gone && error.errc() != Errc::unknown_function) return exit_orphaned;
            report(order, report_failed, error.code().value(), error.what());
            print_line(heading(order) + error.what());
            return exit_not_a_worker;
        }
        print_line(heading(order) + current_exception_text());
    } catch (...) {
        print_line(heading(order) + current_exception_text());
    }
    return 1;
}

/// A deleted program is started as /proc/self/exe, and the kernel then calls it "exe".
void restore_process_name(char** argv) noexcept {
    std::array<char, 17> name{};
    if (argv == nullptr || argv[0] == nullptr) return;
    if (::prctl(PR_GET_NAME, name.data()) != 0 || std::string_view{name.data()} != "exe") return;
    const char* slash = std::strrchr(argv[0], '/');
    ::prctl(PR_SET_NAME, slash != nullptr ? slash + 1 : argv[0]);
}

std::stop_source& worker_stop() {
    static auto* const source = new std::stop_source;  // outlives the static destructors
    return *source;
}

}  // namespace

TaskNode::TaskNode(const char* mangled, TaskRunner runner) noexcept : name_{mangled}, run_{runner} {
    const std::scoped_lock lock{tasks_mutex};
    next_ = tasks;
    tasks = this;
}

TaskNode::~TaskNode() {
    const std::scoped_lock lock{tasks_mutex};
    TaskNode** at = &tasks;
    while (*at != nullptr && *at != this) at = &(*at)->next_;
    if (*at == this) *at = next_;
}

TaskPlace place_of(const TaskNode& node) {
    // A wholly static program may not be known to dladdr: then it is all one module.
    static const char anchor = 0;
    const auto address = reinterpret_cast<std::uintptr_t>(&node);
    Dl_info info{};
    link_map* map = nullptr;
    if (::dladdr1(&node, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 ||
        map == nullptr) {
        return {{}, address - reinterpret_cast<std::uintptr_t>(&anchor)};
    }
    TaskPlace place{map->l_name, address - reinterpret_cast<std::uintptr_t>(info.dli_fbase)};
    if (!place.module.empty()) {
        if (char* real = ::realpath(map->l_name, nullptr)) {
            place.module = real;
            std::free(real);
        }
    }
    return place;
}

std::string function_name(const char* task_name) {
    std::string text = demangled(task_name);
    const std::size_t begin = text.find("Task<");
    if (begin == std::string::npos) return text;
    text.erase(0, begin + 5);
    // Up to the last comma outside of all brackets stands the function, after it the struct.
    std::size_t comma = std::string::npos;
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (std::strchr("<({", text[i]) != nullptr) ++depth;
        if (std::strchr(">)}", text[i]) != nullptr && --depth < 0) break;
        if (text[i] == ',' && depth == 0) comma = i;
    }
    text.resize(std::min(comma, text.size()));
    if (text.starts_with('&')) text.erase(0, 1);
    if (text.starts_with('(') && !text.starts_with("(anonymous") && text.ends_with(')')) {
        text = text.substr(1, text.size() - 2);
    }
    if (text.ends_with("{}")) text.resize(text.size() - 2);
    return text;
}

std::vector<std::string> order_to_environment(const WorkerOrder& order) {
    const std::string text = to_base64(encode(
        order.function, order.offset, order.module, order.same_program, order.arena,
        order.directory, order.arena_id, order.owner, order.parent.index, order.parent.state,
        order.grace_ns, order.report_pid, order.report_fd, order.report_token, order.arguments));
    std::vector<std::string> variables;
    for (std::size_t at = 0; at < text.size(); at += part_bytes) {
        variables.push_back(std::string{part_prefix} + std::to_string(at / part_bytes) + '=' +
                            text.substr(at, part_bytes));
    }
    variables.push_back(std::string{count_variable} + '=' + std::to_string(variables.size()));
    return variables;
}

bool is_order_variable(std::string_view variable) noexcept {
    const std::string_view name = variable.substr(0, variable.find('='));
    return name == count_variable || name.starts_with(part_prefix);
}

bool run_if_worker_was_called() noexcept {
    // W2 relaxed load, no pair: main writes it before it does anything else with lagoon.
    return run_if_worker_called.load(std::memory_order_relaxed) != 0;
}

void require_started_properly() {
    if (run_if_worker_was_called() || std::getenv(count_variable) == nullptr) return;
    print_line(std::string{"lagoon: this process ("} + program_invocation_short_name + ", pid " +
               std::to_string(::getpid()) +
               ") was started as a worker, but its main does not begin with "
               "lagoon::run_if_worker(argc, argv); put that line first. Exiting with 64.");
    ::_exit(exit_not_a_worker);
}

void worker_attached(const WorkerOrder& order, Attachment& arena) {
    if (header_of(&arena).id != order.arena_id) throw Orphaned{};
    keeper_watch_parent(&arena, order.parent,
                        std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::nanoseconds{order.grace_ns}));
    // Asked after the watch has begun, so that there is no gap between the two.
    if (!member_is_alive(&arena, order.parent)) throw Orphaned{};
    report(order, report_attached, 0, {});
    attached = true;
}

void request_worker_stop() noexcept { worker_stop().request_stop(); }

std::uint64_t checksum_of(std::string_view bytes) noexcept {
    ShapeHash hash;
    hash.text(bytes);
    return hash.value();
}

void throw_damaged(const char* what) {
    throw Error{Errc::corrupt, std::string{"what came from another process cannot be decoded: "} +
                                   what + "; do both programs have the same types?"};
}

}  // namespace lagoon::inline v1::detail

namespace lagoon::inline v1 {

void run_if_worker(int argc, char** argv) {
    // W1 relaxed store, no pair: this is the first line of main.
    detail::run_if_worker_called.store(1, std::memory_order_relaxed);
    if (std::getenv(detail::count_variable) == nullptr) return;
    detail::restore_process_name(argc > 0 ? argv : nullptr);
    detail::WorkerOrder order;
    try {
        order = detail::order_from_environment();
    } catch (const std::exception& damaged) {
        detail::print_line(std::string{"lagoon worker: its order is damaged: "} + damaged.what());
        ::_exit(detail::exit_not_a_worker);
    }
    std::exit(detail::run_order(order));
}

std::stop_token worker_stop_token() { return detail::worker_stop().get_token(); }

}  // namespace lagoon::inline v1
