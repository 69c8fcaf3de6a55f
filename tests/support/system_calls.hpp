// system_calls.hpp: code that is killed by the first system call it makes.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstddef>

#include "support/arenas.hpp"

namespace support {

/// From here on the first system call but exit_group kills this process.
inline bool forbid_system_calls() {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    const sock_fprog program{sizeof filter / sizeof *filter, filter};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// From here on that one system call kills this process.
inline bool forbid_system_call(unsigned number) {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{sizeof filter / sizeof *filter, filter};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// Runs `warm_up`, then `body` where system calls kill, in a process of its own.
template <class WarmUp, class Body>
Ended without_system_calls(WarmUp&& warm_up, Body&& body) {
    return in_child([&] {
        warm_up();
        if (!forbid_system_calls()) return 1;
        body();
        return 0;
    });
}
/// `body` twice; the first time, to make lanes, caches and pages, it may make some.
template <class Body>
Ended without_system_calls(Body&& body) {
    return without_system_calls(body, body);
}

constexpr Ended killed_by_a_call = {-1, SIGSYS};

}  // namespace support
