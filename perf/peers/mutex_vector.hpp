// mutex_vector.hpp: a mutex in shared memory around a vector of the free slots' numbers.
//
//   Shape      the vector has its room inside itself, reserved for the largest pool measured
//   Death      Boost.Interprocess: a process killed inside locks everybody out. Robust pthread: the
//              next to lock is told; the killed process's slots are lost all the same
#pragma once

#include <pthread.h>

#include <boost/container/static_vector.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <cerrno>
#include <cstdint>
#include <mutex>

#include "../support/stage.hpp"
#include "boost_lockfree.hpp"

namespace lagoon_perf {

constexpr std::size_t mutex_vector_max_slots = 1'000'000;

/// A process-shared robust mutex as a C++ Lockable.
class RobustMutex {
public:
    RobustMutex() {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&mutex_, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    void lock() {
        if (pthread_mutex_lock(&mutex_) == EOWNERDEAD) pthread_mutex_consistent(&mutex_);
    }
    void unlock() { pthread_mutex_unlock(&mutex_); }

private:
    pthread_mutex_t mutex_;
};

template <class Mutex>
class MutexVector {
public:
    using Held = std::uint32_t;

    MutexVector(Stage& stage, std::uint32_t capacity_slots)
        : shared_(stage.place<Shared>()), values_(stage.array<std::uint64_t>(capacity_slots)) {
        if (!stage.is_creator()) return;
        for (std::uint32_t slot = 0; slot < capacity_slots; ++slot) shared_.free.push_back(slot);
    }

    Held take() {
        const std::lock_guard hold(shared_.mutex);
        if (shared_.free.empty()) return no_slot;
        const std::uint32_t slot = shared_.free.back();
        shared_.free.pop_back();
        return slot;
    }
    bool has(Held held) const { return held != no_slot; }
    const void* address(Held held) const { return values_ + held; }
    void give(Held held) {
        const std::lock_guard hold(shared_.mutex);
        shared_.free.push_back(held);
    }
    void leave(Held held) { give(held); }

private:
    struct Shared {
        Mutex mutex;
        boost::container::static_vector<std::uint32_t, mutex_vector_max_slots> free;
    };
    Shared& shared_;
    std::uint64_t* values_;
};

using InterprocessMutexVector = MutexVector<boost::interprocess::interprocess_mutex>;
using RobustMutexVector = MutexVector<RobustMutex>;

}  // namespace lagoon_perf
