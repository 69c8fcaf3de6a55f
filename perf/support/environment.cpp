#include "environment.hpp"

#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <system_error>

// The build passes the compiler's options here, so that a result can name them.
#ifndef LAGOON_PERF_FLAGS
#define LAGOON_PERF_FLAGS "not recorded"
#endif
#ifndef LAGOON_PERF_PEERS
#define LAGOON_PERF_PEERS "not recorded"
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(undefined_behavior_sanitizer)
#define LAGOON_PERF_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LAGOON_PERF_SANITIZED 1
#endif

namespace lagoon_perf {

namespace {

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

std::string cpu_model() {
    std::ifstream lines("/proc/cpuinfo");
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind("model name", 0) != 0) continue;
        const auto colon = line.find(": ");
        if (colon != std::string::npos) return line.substr(colon + 2);
    }
    return "unknown";
}

std::string first_line(const char* path) {
    std::ifstream lines(path);
    std::string line;
    std::getline(lines, line);
    return line;
}

std::string ownership() {
    const char* asked = std::getenv("LAGOON_OWNERSHIP");
    return asked != nullptr ? asked : "unbiased";
}

std::string utc_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    std::array<char, 32> text{};
    const std::size_t length =
        std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text.data(), length};
}

}  // namespace

Environment environment() {
    utsname name{};
    if (uname(&name) != 0) fail("uname");
    return {
        .date = utc_now(),
        .kernel = name.release,
        .machine = name.machine,
        .cpu = cpu_model(),
        .cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)),
#ifdef __clang__
        .compiler = "clang " __clang_version__,
#else
        .compiler = "g++ " __VERSION__,
#endif
        .flags = LAGOON_PERF_FLAGS,
        .peers = LAGOON_PERF_PEERS,
        .load = first_line("/proc/loadavg"),
        .real_time = sched_getscheduler(0) != SCHED_OTHER,
        .nice = getpriority(PRIO_PROCESS, 0),
        .membarrier = has_membarrier(),
        .ownership = ownership(),
    };
}

std::string why_no_figures() {
#if defined(LAGOON_PERF_SANITIZED)
    return "built with a sanitizer";
#elif !defined(__OPTIMIZE__)
    return "built without optimisation";
#elif !defined(NDEBUG)
    return "built with assertions (NDEBUG is not defined)";
#else
    return {};
#endif
}

bool has_membarrier() {
    const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    return commands >= 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
}

void forbid_membarrier() {
    std::array<sock_filter, 4> steps{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{.len = steps.size(), .filter = steps.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("PR_SET_NO_NEW_PRIVS");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) fail("PR_SET_SECCOMP");
}

std::vector<int> allowed_cpus() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) fail("sched_getaffinity");
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) cpus.push_back(cpu);
    }
    return cpus;
}

void pin_to(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

long long now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<long long>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace lagoon_perf
