// world.hpp: the state of the execution under way: actors, events, choices.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine.hpp"
#include "fiber.hpp"
#include "memory.hpp"

namespace model {

enum class Status { unused, ready, asleep, awaiting, finished, dead };

struct Event {
    enum Kind { actor, flush, deadline, burial, kill } kind;
    int who;
};

/// Hashes of the states that were seen, in a table that doubles up to a limit.
class StateSet {
public:
    void clear();
    /// False when it was there; true also when the table is full and forgets it.
    bool insert(std::uint64_t hash);
    [[nodiscard]] std::uint64_t size() const noexcept { return used_; }

private:
    static constexpr std::size_t most = std::size_t{1} << 23;
    std::vector<std::uint64_t> table_;
    std::size_t used_ = 0;
};

/// The choices of one execution, and which of them to take next.
class Choices {
public:
    void clear() noexcept;
    /// The number below `count` to take here.
    std::uint32_t take(std::uint32_t count, std::uint32_t proposal);
    /// Goes on to the next execution; false when there is none.
    bool next();
    void rewind() noexcept { at_ = 0; }
    [[nodiscard]] bool is_new() const noexcept { return at_ >= path_.size(); }
    [[nodiscard]] std::string text() const;
    void set(const std::string& text);

private:
    struct Choice {
        std::uint32_t taken, count;
    };
    std::vector<Choice> path_;
    std::size_t at_ = 0;
};

class World {
public:
    Report explore(const Program& program, const Bounds& bounds, Search search, std::uint64_t seed);
    Report replay(const Program& program, const Bounds& bounds, const std::string& schedule);

    [[nodiscard]] bool inside() const noexcept { return current_ >= 0; }
    [[nodiscard]] int current() const noexcept { return current_; }
    /// The scheduler asks a condition; what it is told is nobody's knowledge.
    [[nodiscard]] bool is_deciding() const noexcept { return deciding_; }
    [[nodiscard]] int process_of(int actor) const noexcept { return actors_[actor].process; }

    /// Before every step: others may come in, or a death.
    void point();
    /// As point, where only others can make progress possible.
    void yield();
    std::uint32_t choose(std::uint32_t count);
    /// The running actor has learnt `value`: it is part of its state.
    void observe(std::uint64_t value) noexcept {
        actors_[current_].state = mix(actors_[current_].state, value);
    }
    [[nodiscard]] std::uint64_t state_of_current() const noexcept {
        return actors_[current_].state;
    }
    /// Prints a line of a replay.
    void tell(const std::string& line) const;
    [[nodiscard]] bool is_traced() const noexcept { return traced_; }
    [[noreturn]] void fail(const std::string& why);

    // kernel.cpp
    Slept sleep(const std::vector<FutexWord>& words, std::uint64_t deadline, std::size_t* which);
    int wake(void* word, int count);
    [[noreturn]] void die();
    void await(const std::function<bool()>& condition);
    void lock_mutex(int mutex);
    void unlock_mutex(int mutex);
    bool lock(int number, int process);
    void unlock(int number, int process);
    [[nodiscard]] bool is_locked(int number);
    void forget_locks();
    [[nodiscard]] bool is_killed(int process) const noexcept { return killed_[process]; }
    [[nodiscard]] bool is_buried(int process) const noexcept { return buried_[process]; }
    [[nodiscard]] bool is_finished(int a) const noexcept {
        return actors_[a].status == Status::finished || actors_[a].status == Status::dead;
    }
    [[nodiscard]] bool is_asleep(int a) const noexcept {
        return actors_[a].status == Status::asleep;
    }
    [[nodiscard]] bool nobody_dying() const noexcept;
    bool barrier();
    [[nodiscard]] std::uint64_t now() const noexcept { return now_; }

    Memory memory;

private:
    enum class End { none, complete, seen_before, failed, too_long };
    struct ActorState {
        std::string name;
        int process = 0;
        std::function<void()> code;
        Status status = Status::unused;
        bool yielded = false;
        std::uint64_t state = 0;
        std::vector<FutexWord> words;
        std::uint64_t deadline = never;
        std::size_t woken_by = 0;
        Slept slept = Slept::woken;
        const std::function<bool()>* condition = nullptr;
        std::uint64_t priority = 0;
        Fiber fiber;
    };
    struct KernelLock {
        int holder = -1;
        Knowledge left;
    };

    void begin_execution();
    void run_execution();
    static void run_actor(void* world);
    [[noreturn]] void end(End how);
    void switch_to(int actor);
    /// The next actor, after whatever events come first; -1 when there is none left.
    int pick();
    void list_events();
    void happens(Event event);
    std::uint32_t propose();
    std::uint32_t below(std::uint32_t limit) {
        return static_cast<std::uint32_t>(random_() % limit);
    }
    void kill(int process);
    void bury(int process);
    [[nodiscard]] bool is_enabled(int actor);
    [[nodiscard]] bool may_kill(int process) const;
    [[nodiscard]] std::uint64_t hash() const;
    void nobody_can_go_on();
    Report report(bool exhausted) const;

    const Program* program_ = nullptr;
    Bounds bounds_;
    Search search_ = Search::exhaustive;
    Choices choices_;
    std::mt19937 random_;
    std::vector<std::uint64_t> change_points_;
    StateSet seen_;
    std::vector<Event> events_;

    std::array<ActorState, most_actors> actors_;
    int count_ = 0;
    int current_ = -1;
    Fiber main_;
    End end_ = End::none;
    std::string failure_;
    bool traced_ = false;
    bool deciding_ = false;
    bool free_ = false;  // preemptions are not counted

    std::uint32_t preemptions_left_ = 0;
    std::uint32_t kills_left_ = 0;
    std::uint64_t steps_ = 0;
    std::uint64_t now_ = 0;
    std::array<bool, most_processes> killed_{};
    std::array<bool, most_processes> buried_{};
    std::vector<int> sleepers_;  // in the order in which they fell asleep
    std::array<KernelLock, 16> locks_{};
    std::array<KernelLock, 16> mutexes_{};

    Report figures_;
};

World& world();

}  // namespace model
