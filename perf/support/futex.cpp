#include "futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace lagoon_perf {

void futex_sleep(FutexWord& word, std::uint32_t while_it_is) {
    constexpr timespec cap{.tv_sec = 0, .tv_nsec = 100'000'000};
    syscall(SYS_futex, word.address(), FUTEX_WAIT, while_it_is, &cap, nullptr, 0);
}

void futex_wake(FutexWord& word, int count) {
    syscall(SYS_futex, word.address(), FUTEX_WAKE, count, nullptr, nullptr, 0);
}

}  // namespace lagoon_perf
