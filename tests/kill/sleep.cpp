// sleep.cpp: the C library's syscall(), which the library sleeps by, as these tests have it.
#include "kill/sleep.hpp"

#include <dlfcn.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdlib>
#include <ctime>

namespace {

using Call = long (*)(long, ...);

Call real_call() {
    static const auto real = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, "syscall"));
    if (real == nullptr) std::abort();
    return real;
}

/// Looked up before any operation begins.
const Call found_early = real_call();

bool is_cap(const timespec* until) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const auto left = std::chrono::seconds{until->tv_sec - now.tv_sec} +
                      std::chrono::nanoseconds{until->tv_nsec - now.tv_nsec};
    return left >= rig::shortest_cap;
}

}  // namespace

extern "C" long syscall(long number, ...) noexcept {
    va_list rest;
    va_start(rest, number);
    long words[6];
    for (long& word : words) word = va_arg(rest, long);
    va_end(rest);
    if (rig::sleeps_have_no_cap) {
        const bool single = number == SYS_futex && (words[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
        if ((single || number == SYS_futex_waitv) && words[3] != 0 &&
            is_cap(reinterpret_cast<const timespec*>(words[3]))) {
            words[3] = 0;
        }
    }
    return real_call()(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
