// copies.hpp: the ways to get a copy of this process, and an arena to share with it.
#pragma once

#include <sched.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>

#include <lagoon/lagoon.hpp>

#include "support/arenas.hpp"
#include "support/sanitizers.hpp"

namespace support::copies {

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::ShardedCounter hits{"hits"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 4}};
};

inline std::size_t members_of(const std::string& name) {
    return lagoon::ArenaView::open(name).processes().size();
}

enum class Way { fork, plain_fork, raw_clone };
inline const char* name_of(Way way) {
    return way == Way::fork ? "fork" : way == Way::plain_fork ? "_Fork" : "clone";
}

inline pid_t copy_process(Way way) {
    std::fflush(nullptr);
    switch (way) {
        case Way::fork: return ::fork();
        case Way::plain_fork: return ::_Fork();
        case Way::raw_clone: break;
    }
    return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

inline Ended wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return {};
    }
    return WIFSIGNALED(status) ? killed_by(WTERMSIG(status)) : exited(WEXITSTATUS(status));
}

/// Runs `body` in a copy of this process, in which nothing of the test is destroyed.
template <class Body>
Ended in_copy(Way way, Body&& body) {
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        end_with(body);
    }
    return wait_for(pid);
}

#if defined(LAGOON_TEST_TSAN) || defined(LAGOON_TEST_ASAN)
// A sanitizer has locks of its own, which only fork puts in order for the child.
inline Way each_way() { return Way::fork; }
#else
inline Way each_way() { return GENERATE(Way::fork, Way::plain_fork, Way::raw_clone); }
#endif

}  // namespace support::copies
