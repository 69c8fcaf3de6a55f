// process_state.cpp: the wiped memory of the process, its mutex and its epoch.
#include "process_state.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <array>
#include <utility>

#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/pool_core.hpp>
#include <lagoon/error.hpp>

#include "arena_file.hpp"
#include "attachment.hpp"
#include "os.hpp"

namespace lagoon::inline v1::detail {

namespace {

constexpr std::size_t region_bytes = std::size_t{1} << 20;
constexpr std::size_t granule = 256;
constexpr std::size_t size_classes = 32;  // up to 8 KiB

/// In wiped memory.
struct Control {
    Atomic<std::uint64_t> epoch;
    Atomic<std::uint32_t> mutex;  // 0 free, 1 taken, 2 taken and waited for
    std::array<void*, size_classes> free_lists;
};

/// In ordinary memory: a child goes on where its parent stood, so no address comes twice.
struct Ordinary {
    Control* control = nullptr;
    std::byte* next = nullptr;
    std::byte* end = nullptr;
    std::uint64_t epochs = 0;
};
constinit Ordinary ordinary;
constinit const Atomic<std::uint64_t> no_epoch{0};
// 0, then the process ID while one thread sets up, `set_up` afterwards. A child that was forked in
// between finds its parent's number there, and that thread is not in the child.
constinit Atomic<std::uint32_t> started{0};
constexpr std::uint32_t set_up = ~std::uint32_t{0};
constinit bool has_handlers = false;

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

void lock_mutex(Atomic<std::uint32_t>& mutex) noexcept {
    std::uint32_t free = 0;
    // M1 acquire RMW <- M3.
    if (mutex.compare_exchange_strong(free, 1, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return;
    }
    // M2 acquire RMW <- M3: the holder's unlock ends the loop.
    while (mutex.exchange(2, std::memory_order_acquire) != 0) {
        (void)os::futex_wait(mutex, 2, for_ever);
    }
}

void unlock_mutex(Atomic<std::uint32_t>& mutex) noexcept {
    // M3 release RMW -> M1, M2.
    if (mutex.exchange(0, std::memory_order_release) == 2) os::futex_wake(mutex, 1);
}

// glibc's fork takes the mutex first, so that the child finds whole structures; the child's own
// mutex is wiped free. fork calls that skip these handlers are noticed by the epoch all the same.
void before_fork() noexcept { lock_mutex(ordinary.control->mutex); }
void after_fork_in_parent() noexcept { unlock_mutex(ordinary.control->mutex); }
void after_fork_in_child() noexcept { close_gates_of_parent(); }

/// By one thread alone.
void prepare_memory() {
    std::byte* region = map_wiped(region_bytes);
    ordinary.control = reinterpret_cast<Control*>(region);
    epoch_of_process = &ordinary.control->epoch;
    ordinary.next = region + round_up(sizeof(Control), granule);
    ordinary.end = region + region_bytes;
    // Noted first: a child that sets up anew must not have them twice, each taking the mutex.
    if (std::exchange(has_handlers, true)) return;
    ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
}

Control& control() {
    // M4 acquire load <- M5.
    for (std::uint32_t by = started.load(std::memory_order_acquire); by != set_up;) {
        const std::uint32_t own = os::process_id();
        // M6 acquire RMW <- M7: the thread that sets up ends the loop, or its failure does.
        if (by != own && started.compare_exchange_strong(by, own, std::memory_order_acquire,
                                                         std::memory_order_acquire)) {
            try {
                prepare_memory();
            } catch (...) {
                // M7 release store -> M6.
                started.store(0, std::memory_order_release);
                throw;
            }
            // M5 release store -> M4.
            started.store(set_up, std::memory_order_release);
        }
        cpu_relax();
        // M4 acquire load <- M5.
        by = started.load(std::memory_order_acquire);
    }
    return *ordinary.control;
}

/// First call in this process, or in a child that was forked from it.
void begin_epoch(Control& wiped) noexcept {
    lock_mutex(wiped.mutex);
    // M8 relaxed load, no pair: written under the mutex that we hold.
    if (wiped.epoch.load(std::memory_order_relaxed) == 0) {
        const std::uint64_t epoch = ++ordinary.epochs;
        if (epoch > 1) make_attachments_foreign();
        // M9 release store -> M10: the attachments are marked before anybody goes on.
        wiped.epoch.store(epoch, std::memory_order_release);
    }
    unlock_mutex(wiped.mutex);
}

}  // namespace

constinit const Atomic<std::uint64_t>* epoch_of_process = &no_epoch;

ProcessLock::ProcessLock() noexcept { lock_mutex(control().mutex); }
ProcessLock::~ProcessLock() { unlock_mutex(ordinary.control->mutex); }

void prepare_process() {
    (void)control();
    (void)process_epoch();
}

std::uint64_t process_epoch() noexcept {
    Control& wiped = control();
    // M10 acquire load <- M9.
    std::uint64_t epoch = wiped.epoch.load(std::memory_order_acquire);
    if (epoch == 0) [[unlikely]] {
        begin_epoch(wiped);
        // M10 acquire load <- M9.
        epoch = wiped.epoch.load(std::memory_order_acquire);
    }
    return epoch;
}

void* wiped_allocate(std::size_t bytes) {
    const std::size_t size = round_up(bytes, granule);
    const std::size_t size_class = size / granule;
    void*& list = ordinary.control->free_lists.at(size_class);
    if (list != nullptr) {
        void* memory = list;
        list = *static_cast<void**>(memory);
        *static_cast<void**>(memory) = nullptr;
        return memory;
    }
    if (static_cast<std::size_t>(ordinary.end - ordinary.next) < size) {
        ordinary.next = map_wiped(region_bytes);
        ordinary.end = ordinary.next + region_bytes;
    }
    void* memory = ordinary.next;
    ordinary.next += size;
    return memory;
}

void wiped_free(void* memory, std::size_t bytes) noexcept {
    const std::size_t size = round_up(bytes, granule);
    std::fill_n(static_cast<std::byte*>(memory), size, std::byte{0});
    void*& list = ordinary.control->free_lists[size / granule];
    *static_cast<void**>(memory) = list;
    list = memory;
}

}  // namespace lagoon::inline v1::detail
