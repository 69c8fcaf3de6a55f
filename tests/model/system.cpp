// system.cpp: runtime/os.hpp answered by the engine's kernel.
//
// A process's descriptor is 16 and its number, and so are those that it opens anew. The lock that
// tells of its death is the engine's lock of the member's number.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include <lagoon/detail/layout.hpp>

#include "machine.hpp"
#include "runtime/os.hpp"

namespace {

using namespace std::chrono_literals;

/// What a process maps of its description; unmapped, its lock goes.
struct LockPage {
    int lock = -1;
};
std::array<LockPage, model::most_processes> pages;

int process_of(int fd) { return fd - 16; }
int lock_of(std::int64_t byte) { return static_cast<int>(byte - lagoon::detail::member_byte); }

std::uint64_t deadline_of(lagoon::detail::Deadline until) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left < 1ms) return model::until_buried;  // between a death's hint and its proof
    if (left > 30ms) return model::never;        // a cap
    return static_cast<std::uint64_t>(until.time_since_epoch().count());
}

lagoon::os::Slept answer(model::Slept slept) {
    switch (slept) {
        case model::Slept::woken: return lagoon::os::Slept::woken;
        case model::Slept::changed: return lagoon::os::Slept::changed;
        case model::Slept::timed_out: break;
    }
    return lagoon::os::Slept::timed_out;
}

}  // namespace

namespace lagoon::inline v1::os {

Fd::~Fd() = default;

FileId file_of(int) noexcept { return {}; }
FileId file_at(const std::string&) noexcept { return {}; }

Answer try_lock_byte(int fd, std::int64_t byte, LockKind) noexcept {
    const int process = process_of(fd);
    if (!model::kernel_lock(lock_of(byte), process)) return Answer::no;
    pages[process].lock = lock_of(byte);
    return Answer::yes;
}
void unlock_byte(int fd, std::int64_t byte) noexcept {
    model::kernel_unlock(lock_of(byte), process_of(fd));
}
Answer is_byte_locked(int, std::int64_t byte) noexcept {
    return model::kernel_is_locked(lock_of(byte)) ? Answer::yes : Answer::no;
}
Fd reopen(int fd, const std::string&) { return Fd{fd}; }
Fd duplicate(int fd) noexcept { return Fd{fd}; }

int futex_wake(detail::Atomic<std::uint32_t>& word, int count) noexcept {
    return model::futex_wake(word.address(), count);
}
Slept futex_wait_any(std::span<const Watched> words, detail::Deadline deadline,
                     std::size_t* which) noexcept {
    std::vector<model::FutexWord> list;
    for (const Watched& one : words) list.push_back({one.word->address(), one.seen});
    return answer(model::futex_wait(list, deadline_of(deadline), which));
}
Slept futex_wait(detail::Atomic<std::uint32_t>& word, std::uint32_t seen,
                 detail::Deadline deadline) noexcept {
    const Watched one{&word, seen};
    std::size_t which = 0;
    return futex_wait_any({&one, 1}, deadline, &which);
}

bool start_thread(void* (*code)(void*), void* argument) noexcept {
    return model::start_thread(code, argument);
}
std::uint32_t thread_id() noexcept { return 1; }
std::uint32_t process_id() noexcept { return 1; }
std::uint64_t realtime_ns() noexcept { return 0; }
std::uint64_t pid_namespace() noexcept { return 0; }
std::string error_text(int) { return {}; }

}  // namespace lagoon::inline v1::os

extern "C" {

void* __real_mmap(void* at, std::size_t bytes, int access, int flags, int fd, off_t offset);
int __real_munmap(void* at, std::size_t bytes);
int __real_madvise(void* at, std::size_t bytes, int advice);

void* __wrap_mmap(void* at, std::size_t bytes, int access, int flags, int fd, off_t offset) {
    if (fd < 0) return __real_mmap(at, bytes, access, flags, fd, offset);
    pages[process_of(fd)].lock = -1;
    return &pages[process_of(fd)];
}
int __wrap_munmap(void* at, std::size_t bytes) {
    auto* page = static_cast<LockPage*>(at);
    if (page < pages.begin() || page >= pages.end()) return __real_munmap(at, bytes);
    if (page->lock >= 0) {
        model::kernel_unlock(page->lock, static_cast<int>(page - pages.begin()));
    }
    return 0;
}
int __wrap_madvise(void*, std::size_t, int) { return 0; }

/// std::chrono::steady_clock::now(), of the modelled clock: a time_point is returned as its count.
std::int64_t __wrap__ZNSt6chrono3_V212steady_clock3nowEv() {
    return static_cast<std::int64_t>(model::now());
}

}  // extern "C"
