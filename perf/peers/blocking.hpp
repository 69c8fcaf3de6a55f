// blocking.hpp: a pool that can only be tried, behind a POSIX semaphore in shared memory that
// counts what is free: how one waits for a slot with what the system offers.
//
//   Shape      sem_t, which sleeps on a shared futex; then the pool, which has something then
//   Death      a process killed while it holds a slot takes the slot and its count with it
#pragma once

#include <semaphore.h>

#include <cerrno>
#include <cstdint>

#include "../support/stage.hpp"

namespace lagoon_perf {

constexpr const char* blocking_name = "sem_t, boost::lockfree::stack";

template <class Subject>
class Blocking {
public:
    using Held = typename Subject::Held;

    Blocking(Stage& stage, std::uint32_t capacity_slots)
        : pool_(stage, capacity_slots), free_(*stage.array<sem_t>(1)) {
        if (stage.is_creator()) sem_init(&free_, 1, capacity_slots);
    }

    Held wait() {
        while (sem_wait(&free_) != 0 && errno == EINTR) {
        }
        return pool_.take();
    }
    bool has(const Held& held) const { return pool_.has(held); }
    const void* address(Held& held) const { return pool_.address(held); }
    void give(Held& held) { leave(held); }
    void leave(Held& held) {
        pool_.leave(held);
        sem_post(&free_);
    }

private:
    Subject pool_;
    sem_t& free_;
};

}  // namespace lagoon_perf
