// kernel.cpp: the modelled kernel: futexes, deaths, locks that end with their process, barriers.
#include <linux/futex.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "heap.hpp"
#include "world.hpp"

namespace model {

namespace {

std::uint32_t word_at(const void* at) noexcept {
    std::uint32_t value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
}

}  // namespace

Slept World::sleep(const std::vector<FutexWord>& words, std::uint64_t deadline,
                   std::size_t* which) {
    point();
    // The kernel compares under its own lock, with what is in memory.
    memory.flush_all(current_);
    ActorState& me = actors_[current_];
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (word_at(words[i].word) == words[i].seen) continue;
        *which = i;
        observe(i * 4 + 1);
        if (traced_) tell("futex_wait: word " + std::to_string(i) + " has changed");
        return Slept::changed;
    }
    if (traced_) tell("futex_wait: sleeps");
    me.words = words;
    me.deadline = deadline;
    me.slept = Slept::woken;
    me.status = Status::asleep;
    sleepers_.push_back(current_);
    switch_to(pick());
    if (traced_) tell(me.slept == Slept::woken ? "is awake" : "is awake: the deadline");
    me.words.clear();
    *which = me.woken_by;
    observe(me.woken_by * 4 + (me.slept == Slept::woken ? 2 : 3));
    return me.slept;
}

int World::wake(void* word, int count) {
    int woken = 0;
    while (woken < count) {
        std::vector<int> asleep;
        for (const int a : sleepers_) {
            for (const FutexWord& one : actors_[a].words) {
                if (one.word == word) {
                    asleep.push_back(a);
                    break;
                }
            }
        }
        if (asleep.empty()) break;
        // In which order is nobody's promise; of all it does not matter.
        const bool some = static_cast<std::size_t>(count - woken) < asleep.size();
        const int a = asleep[some ? choose(static_cast<std::uint32_t>(asleep.size())) : 0];
        std::erase(sleepers_, a);
        auto& words = actors_[a].words;
        actors_[a].woken_by = 0;
        while (words[actors_[a].woken_by].word != word) ++actors_[a].woken_by;
        actors_[a].slept = Slept::woken;
        actors_[a].status = Status::ready;
        ++woken;
    }
    return woken;
}

void World::await(const std::function<bool()>& condition) {
    actors_[current_].condition = &condition;
    actors_[current_].status = Status::awaiting;
    point();
    actors_[current_].status = Status::ready;
}

void World::forget_locks() {
    for (KernelLock& lock : locks_) lock = {};
    for (KernelLock& mutex : mutexes_) mutex = {};
}

bool World::nobody_dying() const noexcept { return killed_ == buried_; }

void World::kill(int process) {
    if (traced_) tell("(process " + std::to_string(process) + " is killed)");
    killed_[process] = true;
    for (int a = 0; a < count_; ++a) {
        if (actors_[a].process != process || is_finished(a)) continue;
        memory.flush_all(a);
        std::erase(sleepers_, a);
        actors_[a].status = Status::dead;
    }
    if (program_->killed) program_->killed(process);
}

void World::die() {
    point();
    const int process = actors_[current_].process;
    kill(process);
    bury(process);
    switch_to(pick());
    std::abort();  // nobody resumes it
}

void World::bury(int process) {
    if (traced_) tell("(process " + std::to_string(process) + " is gone)");
    buried_[process] = true;
    for (KernelLock& lock : locks_) {
        if (lock.holder != process) continue;
        lock.holder = -1;
        for (int a = 0; a < count_; ++a) {
            if (actors_[a].process == process) memory.teach(a, lock.left);
        }
    }
}

bool World::lock(int number, int process) {
    KernelLock& lock = locks_[number];
    const bool taken = lock.holder < 0;
    if (taken) lock.holder = process;
    if (inside()) {
        if (taken) memory.learn(current_, lock.left);
        observe(taken ? 1 : 0);
        if (traced_) tell("locks byte " + std::to_string(number) + (taken ? "" : ": taken"));
    }
    return taken;
}

void World::unlock(int number, int process) {
    KernelLock& lock = locks_[number];
    if (lock.holder != process) return;
    lock.holder = -1;
    if (inside()) memory.teach(current_, lock.left);
}

bool World::is_locked(int number) {
    KernelLock& lock = locks_[number];
    if (!inside()) return lock.holder >= 0;
    if (lock.holder < 0) memory.learn(current_, lock.left);
    observe(lock.holder >= 0 ? 1 : 0);
    if (traced_) {
        tell("asks for byte " + std::to_string(number) + (lock.holder < 0 ? ": free" : ": locked"));
    }
    return lock.holder >= 0;
}

void World::lock_mutex(int number) {
    KernelLock& mutex = mutexes_[number];
    const std::function<bool()> is_free = [&mutex] { return mutex.holder < 0; };
    await(is_free);
    mutex.holder = current_;
    memory.learn(current_, mutex.left);
    observe(actors_[current_].state);
}

void World::unlock_mutex(int number) {
    mutexes_[number].holder = -1;
    memory.teach(current_, mutexes_[number].left);
}

bool World::barrier() {
    const auto is_reached = [&](int a) {
        return !program_->reached || program_->reached(actors_[a].process);
    };
    const bool everywhere = is_reached(current_);
    std::vector<int> actors;
    for (int a = 0; a < count_; ++a) {
        // Also who has ended: the switch to another process was a barrier.
        if (a == current_ || (everywhere && is_reached(a))) actors.push_back(a);
    }
    if (traced_) tell("barrier on " + std::to_string(actors.size()) + " CPUs");
    memory.barrier(actors);
    return everywhere;
}

// What programs call.

void share(void* memory, std::size_t bytes) { world().memory.share(memory, bytes); }
void unshare() { world().memory.unshare(); }
void fail(const std::string& why) { world().fail(why); }
int this_actor() { return world().current(); }
int this_process() { return world().process_of(world().current()); }

namespace {
/// What an actor is told is part of its state.
template <class T>
T told(T answer) {
    const bool counts = world().inside() && !world().is_deciding();
    if (counts) world().observe(static_cast<std::uint64_t>(answer));
    return answer;
}
}  // namespace

bool is_killed(int process) { return told(world().is_killed(process)); }
bool is_buried(int process) { return told(world().is_buried(process)); }
bool is_finished(int actor) { return told(world().is_finished(actor)); }
bool is_asleep(int actor) { return told(world().is_asleep(actor)); }
std::uint64_t now() { return told(world().now()); }

void step() {
    if (!world().inside()) return;
    const heap::EngineScope scope;
    world().point();
}

void die() {
    heap::belongs_to(heap::Of::engine);
    world().die();
}

void await(std::function<bool()> condition) {
    if (!world().inside()) return;
    const heap::EngineScope scope;
    world().await(condition);
}

void join_actor(int actor) {
    await([actor] { return is_finished(actor); });
    const heap::EngineScope scope;
    Knowledge all;
    world().memory.teach(actor, all);
    world().memory.learn(world().current(), all);
}

Slept futex_wait(const std::vector<FutexWord>& words, std::uint64_t deadline, std::size_t* which) {
    if (!world().inside()) fail("sleeps where nobody else runs");
    const heap::EngineScope scope;
    return world().sleep(words, deadline, which);
}

int futex_wake(void* word, int count) {
    if (!world().inside()) return 0;
    const heap::EngineScope scope;
    world().point();
    world().memory.flush_all(world().current());
    const int woken = world().wake(word, count);
    world().observe(static_cast<std::uint64_t>(woken));
    if (world().is_traced()) world().tell("futex_wake: " + std::to_string(woken) + " woken");
    return woken;
}

void kernel_mark(void* word, std::uint32_t thread) {
    const std::uint32_t found = word_at(word);
    if ((found & FUTEX_TID_MASK) != thread) return;
    world().memory.kernel_store(word, sizeof found, (found & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
    if ((found & FUTEX_WAITERS) != 0) (void)world().wake(word, 1);
}

bool kernel_lock(int lock, int process) {
    if (!world().inside()) return world().lock(lock, process);
    const heap::EngineScope scope;
    world().point();
    return world().lock(lock, process);
}

void kernel_unlock(int lock, int process) {
    if (!world().inside()) return world().unlock(lock, process);
    const heap::EngineScope scope;
    world().point();
    world().unlock(lock, process);
}

bool kernel_is_locked(int lock) {
    if (!world().inside()) return world().is_locked(lock);
    const heap::EngineScope scope;
    world().point();
    return world().is_locked(lock);
}

void kernel_forget() { world().forget_locks(); }

void mutex_lock(int mutex) {
    if (!world().inside()) return;
    const heap::EngineScope scope;
    world().lock_mutex(mutex);
}

void mutex_unlock(int mutex) {
    if (!world().inside()) return;
    const heap::EngineScope scope;
    world().unlock_mutex(mutex);
}

bool barrier_everywhere() {
    if (!world().inside()) return true;
    const heap::EngineScope scope;
    world().point();
    return world().barrier();
}

}  // namespace model
