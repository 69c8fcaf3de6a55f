// turn.hpp: one thread of a process at a time, for a moment in which it waits for nobody.
//
//   Shape      a word that is 0, or the epoch of the process whose thread has the turn
//   Fork       a child's copy may say that a thread of its parent has it: another epoch, so free
#pragma once

#include <cstdint>

#include <lagoon/detail/atomic.hpp>

namespace lagoon::inline v1::detail {

class Turn {
public:
    /// Where `word` is null everybody has a turn of his own.
    Turn(Atomic<std::uint64_t>* word, std::uint64_t epoch) noexcept : word_{word} {
        std::uint64_t before = 0;
        // K7 acquire RMW <- K8: who has it is at work and waits for nobody.
        while (word_ != nullptr &&
               !word_->compare_exchange_strong(before, epoch, std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
            if (before == epoch) before = 0;
            cpu_relax();
        }
    }
    ~Turn() {
        // K8 release store -> K7.
        if (word_ != nullptr) word_->store(0, std::memory_order_release);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    Atomic<std::uint64_t>* word_;
};

}  // namespace lagoon::inline v1::detail
