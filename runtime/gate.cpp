// gate.cpp: the byte outside of all members that guards the way from a name to a file.
//
// The gate hangs on an open file description of its own, which every fork copies. So the
// descriptors of all gates of this process are listed, and a forked child closes them first of all:
// it would hold a gate that its parent died with. A copy that was made past glibc's handlers keeps
// them until it executes or ends.
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include <lagoon/error.hpp>

#include "arena_file.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::chrono::seconds gate_patience{10};

/// Under the process lock, which a fork takes, too. Never destroyed: threads outlive static
/// objects.
constinit std::vector<int>* open_gates = nullptr;

[[noreturn]] void fail(Errc code, const std::string& text, int error = 0) {
    throw Error{code, error != 0 ? text + ": " + os::error_text(error) : text, error};
}

}  // namespace

void close_gates_of_parent() noexcept {
    if (open_gates == nullptr) return;
    for (const int fd : *open_gates) ::close(fd);
    open_gates->clear();
}

// Open and listed in one: no fork comes in between.
Gate::Listed::Listed(int fd, const std::string& what) {
    prepare_process();
    const ProcessLock lock;
    if (open_gates == nullptr) open_gates = new std::vector<int>;
    open_gates->reserve(open_gates->size() + 1);
    number_ = os::reopen(fd, what).release();
    open_gates->push_back(number_);
}

// Unlocked at once, whoever else has the description.
Gate::Listed::~Listed() {
    const ProcessLock lock;
    const auto at = std::find(open_gates->begin(), open_gates->end(), number_);
    if (at == open_gates->end()) return;  // in a forked child, which has closed it
    open_gates->erase(at);
    os::unlock_byte(number_, gate_byte);
    ::close(number_);
}

Gate::Gate(int fd, os::LockKind kind, const std::string& what, os::FileId expected)
    : description_{fd, what} {
    if (expected != os::FileId{} && os::file_of(description_.get()) != expected) {
        fail(Errc::busy, what + ": this process's descriptors were changed while it was used");
    }
    const auto deadline = std::chrono::steady_clock::now() + gate_patience;
    std::chrono::microseconds pause{50};
    for (;;) {
        const os::Answer answer = os::try_lock_byte(description_.get(), gate_byte, kind);
        if (answer == os::Answer::yes) break;
        if (answer == os::Answer::refused) {
            fail(Errc::not_supported,
                 what +
                     ": the kernel or a sandbox refuses locks of open file descriptions, by "
                     "which deaths are recognised",
                 errno);
        }
        if (std::chrono::steady_clock::now() >= deadline) {
            std::uint64_t pid = 0;
            (void)::pread(description_.get(), &pid, sizeof pid, offsetof(ArenaHeader, gate_pid));
            fail(Errc::busy, what + ": its gate was held for 10 s, last by process " +
                                 std::to_string(pid) +
                                 "; see whether that process is stopped, and continue or kill it");
        }
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, std::chrono::microseconds{2000});
    }
    // For display by whoever waits for us; only in a file that is an arena.
    std::array<char, 8> magic{};
    if (::pread(description_.get(), magic.data(), magic.size(), 0) == 8 && magic == arena_magic) {
        const std::uint64_t pid = os::process_id();
        (void)!::pwrite(description_.get(), &pid, sizeof pid, offsetof(ArenaHeader, gate_pid));
    }
}

}  // namespace lagoon::inline v1::detail
