// process_state.cpp: the wiped memory of the process, its mutex and its epoch.
#include "process_state.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <array>
#include <memory>
#include <utility>

#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/pool_core.hpp>
#include <lagoon/error.hpp>

#include "arena_file.hpp"
#include "attachment.hpp"
#include "futex_mutex.hpp"
#include "os.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::size_t region_bytes = std::size_t{1} << 20;
constexpr std::size_t granule = 256;
constexpr std::size_t size_classes = 32;  // up to 8 KiB

/// In wiped memory.
struct Control {
    Atomic<std::uint64_t> epoch;
    Atomic<std::uint32_t> mutex;  // futex_mutex.hpp
    std::array<void*, size_classes> free_lists;
};

/// In ordinary memory: a child goes on where its parent stood, so no address comes twice.
struct Ordinary {
    Control* control = nullptr;
    std::byte* next = nullptr;
    std::byte* end = nullptr;
    std::uint64_t epochs = 0;
};
// Null until a first use has made it, whole. A child that was forked before has no word of its
// parent's first use and makes one of its own. Never destroyed.
constinit Atomic<Ordinary*> published{nullptr};
// Behind the registration: a child that was forked in between registers once more.
constinit Atomic<bool> has_handlers{false};
constinit const Atomic<std::uint64_t> no_epoch{0};
// What this thread's fork has locked: with handlers that are registered twice it locks once.
constinit thread_local Atomic<std::uint32_t>* locked_by_fork = nullptr;

std::byte* map_wiped(std::size_t bytes) {
    void* memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw Error{Errc::system, "no memory for the private halves of lanes", errno};
    }
    if (::madvise(memory, bytes, MADV_WIPEONFORK) != 0) {
        const int error = errno;
        ::munmap(memory, bytes);
        throw Error{Errc::not_supported,
                    "the kernel refuses MADV_WIPEONFORK, by which a forked child is told apart: " +
                        os::error_text(error),
                    error};
    }
    return static_cast<std::byte*>(memory);
}

Ordinary* find_ordinary() noexcept {
    // M4 acquire load <- M5. kept: for what make_ordinary wrote, in private memory.
    return published.load(std::memory_order_acquire);
}

// glibc's fork takes the mutex first, so that the child finds whole structures; the child's own
// mutex is wiped free. fork calls that skip these handlers are noticed by the epoch all the same.
void before_fork() noexcept {
    Ordinary* ordinary = find_ordinary();
    if (ordinary == nullptr || locked_by_fork != nullptr) return;
    lock_mutex(ordinary->control->mutex);
    locked_by_fork = &ordinary->control->mutex;
}
void after_fork_in_parent() noexcept {
    if (locked_by_fork != nullptr) unlock_mutex(*std::exchange(locked_by_fork, nullptr));
}
void after_fork_in_child() noexcept {
    locked_by_fork = nullptr;
    close_gates_of_parent();
}

void register_handlers() {
    // M6 acquire load <- M7. kept: a flag alone; handlers that are there twice do no harm.
    if (has_handlers.load(std::memory_order_acquire)) return;
    if (const int error =
            ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
        error != 0) {
        throw Error{Errc::system, "no memory for what is to be done when the process forks", error};
    }
    // M7 release store -> M6. kept: as M6.
    has_handlers.store(true, std::memory_order_release);
}

/// Threads may do so at one time: one's memory stays, and nobody waits for another, who might not
/// be in this process any more.
Ordinary& make_ordinary() {
    register_handlers();
    auto fresh = std::make_unique<Ordinary>();
    std::byte* region = map_wiped(region_bytes);
    fresh->control = reinterpret_cast<Control*>(region);
    fresh->next = region + round_up(sizeof(Control), granule);
    fresh->end = region + region_bytes;
    Ordinary* found = nullptr;
    // M5 acq_rel RMW <- M5 -> M4, M5. kept: as M4; torn, two threads would go on with a mutex each.
    if (published.compare_exchange_strong(found, fresh.get(), std::memory_order_acq_rel,
                                          std::memory_order_acquire)) {
        return *fresh.release();
    }
    ::munmap(region, region_bytes);
    return *found;
}

Ordinary& ordinary() {
    Ordinary* found = find_ordinary();
    return found != nullptr ? *found : make_ordinary();
}

/// First call in this process, or in a child that was forked from it.
void begin_epoch(Ordinary& ordinary) noexcept {
    Control& wiped = *ordinary.control;
    lock_mutex(wiped.mutex);
    // M8 relaxed load, no pair: written under the mutex that we hold.
    if (wiped.epoch.load(std::memory_order_relaxed) == 0) {
        if (epoch_of_process != &wiped.epoch) epoch_of_process = &wiped.epoch;
        const std::uint64_t epoch = ++ordinary.epochs;
        if (epoch > 1) {
            forget_gates_of_parent();
            make_attachments_foreign();
        }
        // M9 release store -> M10: the attachments are marked before anybody goes on. kept: no
        // scene forks.
        wiped.epoch.store(epoch, std::memory_order_release);
    }
    unlock_mutex(wiped.mutex);
}

}  // namespace

constinit const Atomic<std::uint64_t>* epoch_of_process = &no_epoch;

ProcessLock::ProcessLock() noexcept {
    (void)process_epoch();
    lock_mutex(ordinary().control->mutex);
}
ProcessLock::~ProcessLock() { unlock_mutex(ordinary().control->mutex); }

void prepare_process() {
    (void)ordinary();
    (void)process_epoch();
}

std::uint64_t process_epoch() noexcept {
    Ordinary& own = ordinary();
    const Control& wiped = *own.control;
    // M10 acquire load <- M9. kept: as M9.
    std::uint64_t epoch = wiped.epoch.load(std::memory_order_acquire);
    if (epoch == 0) [[unlikely]] {
        begin_epoch(own);
        // M10 acquire load <- M9. kept: begin_epoch holds the mutex.
        epoch = wiped.epoch.load(std::memory_order_acquire);
    }
    return epoch;
}

void* wiped_allocate(std::size_t bytes) {
    Ordinary& own = ordinary();
    const std::size_t size = round_up(bytes, granule);
    const std::size_t size_class = size / granule;
    void*& list = own.control->free_lists.at(size_class);
    if (list != nullptr) {
        void* memory = list;
        list = *static_cast<void**>(memory);
        *static_cast<void**>(memory) = nullptr;
        return memory;
    }
    if (static_cast<std::size_t>(own.end - own.next) < size) {
        own.next = map_wiped(region_bytes);
        own.end = own.next + region_bytes;
    }
    void* memory = own.next;
    own.next += size;
    return memory;
}

void wiped_free(void* memory, std::size_t bytes) noexcept {
    const std::size_t size = round_up(bytes, granule);
    std::fill_n(static_cast<std::byte*>(memory), size, std::byte{0});
    void*& list = ordinary().control->free_lists[size / granule];
    *static_cast<void**>(memory) = list;
    list = memory;
}

}  // namespace lagoon::inline v1::detail
