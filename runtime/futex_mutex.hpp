// futex_mutex.hpp: a mutex of one process in one word, for memory that a fork wipes.
//
//   Shape      0 free, 1 taken, 2 taken and perhaps waited for; all zero bytes are a free one
//   Death      goes with the process; a forked child whose copy is wiped finds it free
//   Source     U. Drepper, Futexes Are Tricky, 2011, its second mutex
#pragma once

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/wait.hpp>

#include "os.hpp"

namespace lagoon::inline v1::detail {

inline void lock_mutex(Atomic<std::uint32_t>& mutex) noexcept {
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

inline void unlock_mutex(Atomic<std::uint32_t>& mutex) noexcept {
    // M3 release RMW -> M1, M2.
    if (mutex.exchange(0, std::memory_order_release) == 2) os::futex_wake(mutex, 1);
}

}  // namespace lagoon::inline v1::detail
