// first_use.cpp: a program that forks while another thread of it uses lagoon for the first time.
// Exits with 0 when the child can use it, too.
#include <lagoon/lagoon.hpp>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <string>
#include <thread>

namespace {

struct Desk {
    lagoon::Counter total{"total"};
};

std::atomic<int> step{0};

int use() {
    try {
        const auto desk = lagoon::Arena<Desk>::create("first-use-" + std::to_string(::getpid()),
                                                      {.keeper = false});
        return desk->total.add(1) == 0 ? 0 : 1;
    } catch (const std::exception&) {
        return 2;
    }
}

}  // namespace

/// In place of the system's: the first use is halted in its midst.
extern "C" int madvise(void* memory, std::size_t bytes, int advice) noexcept {
    int before = 0;
    if (advice == MADV_WIPEONFORK && step.compare_exchange_strong(before, 1)) {
        while (step != 2) ::usleep(100);
    }
    return static_cast<int>(::syscall(SYS_madvise, memory, bytes, advice));
}

int main() {
    int in_thread = 1;
    std::thread user{[&] { in_thread = use(); }};
    while (step != 1) ::usleep(100);
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(60);  // it would wait for a thread that is not there
        ::_exit(use());
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    step = 2;
    user.join();
    return status == 0 ? in_thread : 3;
}
