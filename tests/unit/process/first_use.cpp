// first_use.cpp: a program that forks while another thread of it uses lagoon for the first time.
// Its argument is where that thread is halted: in `memory`, `before` or `after` the registration of
// the fork handlers; with `number` in memory, and parent and child have one process ID, as across
// PID namespaces. Exits with 0 when the child can use the library, too, and has the handlers.
#include <lagoon/lagoon.hpp>

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <string>
#include <string_view>
#include <thread>

namespace {

struct Desk {
    lagoon::Counter total{"total"};
};

std::atomic<int> step{0};
std::string_view place;
std::atomic<int> registrations{0};

using Handler = void (*)();

/// The first one who comes to `here` is halted there.
void halt(std::string_view here) {
    int before = 0;
    if (place != here || !step.compare_exchange_strong(before, 1)) return;
    while (step != 2) ::usleep(100);
}

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

/// In place of the system's.
extern "C" int madvise(void* memory, std::size_t bytes, int advice) noexcept {
    if (advice == MADV_WIPEONFORK) halt(place == "number" ? place : "memory");
    return static_cast<int>(::syscall(SYS_madvise, memory, bytes, advice));
}

/// In place of the system's.
extern "C" pid_t getpid() noexcept {
    return place == "number" ? 1 : static_cast<pid_t>(::syscall(SYS_getpid));
}

/// In place of glibc's, by which pthread_atfork registers.
extern "C" int register_atfork(Handler prepare, Handler parent, Handler child,
                               void* handle) noexcept __asm__("__register_atfork");
extern "C" int register_atfork(Handler prepare, Handler parent, Handler child,
                               void* handle) noexcept {
    using Register = int (*)(Handler, Handler, Handler, void*);
    const auto next = reinterpret_cast<Register>(::dlsym(RTLD_NEXT, "__register_atfork"));
    halt("before");
    const int error = next(prepare, parent, child, handle);
    ++registrations;
    halt("after");
    return error;
}

int main(int, char** arguments) {
    place = arguments[1];
    int in_thread = 1;
    std::thread user{[&] { in_thread = use(); }};
    while (step != 1) ::usleep(100);
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(60);  // it would wait for a thread that is not there
        if (use() != 0 || registrations == 0) ::_exit(1);
        // Handlers that are registered twice.
        const pid_t grandchild = ::fork();
        if (grandchild == 0) {
            ::alarm(60);
            ::_exit(use());
        }
        int status = 1;
        ::waitpid(grandchild, &status, 0);
        ::_exit(status == 0 ? 0 : 1);
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    step = 2;
    user.join();
    return status == 0 ? in_thread : 3;
}
