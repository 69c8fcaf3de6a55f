// gate.cpp: the byte outside of all members that guards the way from a name to a file.
//
// The gate hangs on an open file description of its own, which every fork copies. So the
// descriptors of all gates of this process are listed, and a forked child closes them first of all:
// it would hold a gate that its parent died with. The list runs through the gates themselves. A
// copy that was made past glibc's handlers keeps them until it executes or ends.
#include <unistd.h>

#include <algorithm>
#include <thread>

#include <lagoon/error.hpp>

#include "arena_file.hpp"
#include "process_state.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::chrono::seconds gate_patience{10};

[[noreturn]] void fail(Errc code, const std::string& text, int error = 0) {
    throw Error{code, error != 0 ? text + ": " + os::error_text(error) : text, error};
}

}  // namespace

constinit Gate::Listed* Gate::open_ = nullptr;

// The host may have closed a number and given it to something else.
void close_gates_of_parent() noexcept {
    for (const Gate::Listed* gate = Gate::open_; gate != nullptr; gate = gate->next_) {
        if (os::file_of(gate->number_) == gate->file_) ::close(gate->number_);
    }
    Gate::open_ = nullptr;
}

void forget_gates_of_parent() noexcept { Gate::open_ = nullptr; }

// Open and listed in one: no fork comes in between.
Gate::Listed::Listed(int fd, const std::string& what) {
    prepare_process();
    const ProcessLock lock;
    number_ = os::reopen(fd, what).release();
    file_ = os::file_of(number_);
    next_ = open_;
    open_ = this;
}

// Unlocked at once, whoever else has the description.
Gate::Listed::~Listed() {
    const ProcessLock lock;
    Listed** at = &open_;
    while (*at != nullptr && *at != this) at = &(*at)->next_;
    if (*at == nullptr) return;  // in a forked child, which has closed it
    *at = next_;
    if (os::file_of(number_) != file_) return;
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
