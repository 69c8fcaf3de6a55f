// sandbox.hpp: a forked test process whose world lacks something.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "support/arenas.hpp"

namespace support {

/// What a child ends with where this machine does not let it be confined.
constexpr int not_allowed = 77;

/// A system call to refuse: any, or one whose second or third argument is a certain number.
struct Refusal {
    long call;
    int argument = -1;  // 0-based; -1: whatever the arguments
    std::uint32_t value = 0;
};

/// From now on the calls of this process fail with `error`. False when the kernel refuses that.
inline bool refuse(const std::vector<Refusal>& calls, int error) {
    std::vector<sock_filter> code;
    const auto load = [&](std::size_t offset) {
        code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
    };
    const auto deny =
        static_cast<std::uint32_t>(SECCOMP_RET_ERRNO) | static_cast<std::uint32_t>(error);
    for (const auto& refusal : calls) {
        load(offsetof(seccomp_data, nr));
        const auto number = static_cast<std::uint32_t>(refusal.call);
        if (refusal.argument < 0) {
            code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
        } else {
            code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3));
            load(offsetof(seccomp_data, args) +
                 static_cast<std::size_t>(refusal.argument) * sizeof(std::uint64_t));
            code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refusal.value, 0, 1));
        }
        code.push_back(BPF_STMT(BPF_RET | BPF_K, deny));
    }
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

inline bool write_text(const std::string& path, const std::string& text) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool ok = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::close(fd);
    return ok;
}

/// This process gets mounts of its own, by a user namespace where it is not root.
inline bool own_mounts(int more_flags = 0) {
    const auto user = std::to_string(::geteuid());
    const auto group = std::to_string(::getegid());
    if (::unshare(CLONE_NEWNS | more_flags) != 0) {
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | more_flags) != 0) return false;
        write_text("/proc/self/setgroups", "deny");
        if (!write_text("/proc/self/uid_map", "0 " + user + " 1") ||
            !write_text("/proc/self/gid_map", "0 " + group + " 1")) {
            return false;
        }
    }
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

/// A tmpfs of that size on `where`, for this process only.
inline bool small_tmpfs(const std::string& where, const std::string& size) {
    return own_mounts() &&
           ::mount("small", where.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
}

/// An empty directory where /proc was, for this process only.
inline bool hide_proc() {
    return own_mounts() && ::mount("none", "/proc", "tmpfs", 0, "size=4k") == 0;
}

/// This process's memory control group, with a slash at the end; empty where there is none that
/// children can be made in.
inline std::string memory_group() {
    std::ifstream lines{"/proc/self/cgroup"};
    for (std::string line; std::getline(lines, line);) {
        const auto first = line.find(':');
        const auto second = line.find(':', first + 1);
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string path = line.substr(second + 1);
        const std::string mount =
            controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controllers;
        const bool version2 = controllers.empty();
        if (!version2 && controllers != "memory") continue;
        std::string group = mount + path;
        if (::access(group.c_str(), W_OK) != 0) group = mount;  // a namespace of cgroups
        const char* file = version2 ? "/memory.max" : "/memory.limit_in_bytes";
        if (::access((mount + file).c_str(), F_OK) != 0 &&
            ::access((group + file).c_str(), F_OK) != 0) {
            continue;
        }
        return group + "/";
    }
    return "";
}

/// Moves this process into a new group `group` that may use `bytes` of memory.
inline bool limit_memory(const std::string& group, std::uint64_t bytes) {
    if (::mkdir(group.c_str(), 0755) != 0 && errno != EEXIST) return false;
    const auto number = std::to_string(bytes);
    const bool limited = write_text(group + "/memory.limit_in_bytes", number) ||
                         write_text(group + "/memory.max", number);
    return limited && write_text(group + "/cgroup.procs", std::to_string(::getpid()));
}

/// Runs `body` as a user without rights, for good.
template <class Body>
int as_nobody(Body&& body) {
    constexpr uid_t nobody = 65534;
    if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 ||
        ::setresuid(nobody, nobody, nobody) != 0) {
        return not_allowed;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // which the change of user has cleared
    return body();
}

/// Everybody may use the directory of the arenas meanwhile.
class OpenDirectory {
public:
    OpenDirectory() { ::chmod(arena_directory().c_str(), 01777); }
    ~OpenDirectory() { ::chmod(arena_directory().c_str(), 0700); }
};

}  // namespace support
