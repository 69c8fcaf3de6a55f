// engine.hpp: runs small concurrent programs in every order, and kills them anywhere.
//
//   Shape      actors are fibers on one thread; a step is one access to shared memory, one call of
//              the modelled kernel, or one event: a buffered store reaches memory, a deadline
//              passes, a process is killed, its burial (its locks go) happens
//   Search     depth first over all choices within the bounds, by running every execution anew;
//              a state that was seen before is not gone into again. Or at random, or by random
//              priorities (PCT)
//   Memory     either x86's store buffers, or C++20's orders on a history of stores per location;
//              see memory.hpp for what is left out
//   Failure    the schedule is printed as a string; given back in LAGOON_MODEL_REPLAY it runs
//              again, step by step
//   Source     M. Musuvathi and S. Qadeer, Iterative context bounding, 2007, for the bound;
//              S. Burckhardt and others, A randomized scheduler with probabilistic guarantees of
//              finding bugs, 2010, for PCT
//
// States are compared by 64-bit hashes of what every actor has read and of all memory, so that two
// different ones could be taken for the same: with n states by chance n^2 / 2^65.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace model {

constexpr int most_actors = 6;
constexpr int most_processes = 6;

struct Bounds {
    std::uint32_t preemptions = 2;  // switches away from an actor that could have gone on
    std::uint32_t kills = 0;        // processes killed, each between any two steps
    std::uint32_t stale = 0;        // loads that return an older store than the newest
    bool lag = false;               // who has read an older store may read it again, uncounted
    bool store_buffers = false;     // x86's, instead of histories
    bool remember = true;           // do not go into a state again that was seen before
    std::uint64_t executions = 200'000;
    std::uint64_t steps = 4'000;  // of one execution; more is a livelock
};

enum class Search { exhaustive, random, priorities };

struct Actor {
    std::string name;
    int process;
    std::function<void()> code;
};

/// What `explore` runs. All of it is called anew for every execution.
struct Program {
    std::string name;
    /// Puts the shared memory into its first state.
    std::function<std::vector<Actor>()> begin;
    /// Looks at the end; calls `fail` when something is wrong.
    std::function<void()> check = {};
    /// What the kernel does at once when it kills a process; its locks go at the burial.
    std::function<void(int process)> killed = {};
    /// Does everybody's barrier reach this process? If not, its own is for itself only.
    std::function<bool(int process)> reached = {};
    /// Thread-local state of the program under test, swapped with the actor; -1 is the main one.
    std::function<void(int actor)> enter = {};
    /// Processes that a kill may hit; none: all.
    std::vector<int> mortal = {};
};

struct Report {
    bool failed = false;
    bool exhausted = false;  // nothing within the bounds is left
    std::string failure;
    std::string schedule;
    std::uint64_t executions = 0;
    std::uint64_t steps = 0;
    std::uint64_t states = 0;
    std::uint64_t kills = 0;  // executions in which somebody was killed
};

/// Tells the memory in which plain accesses and atomics are watched.
void share(void* memory, std::size_t bytes);
/// Forgets all of it.
void unshare();

Report explore(const Program& program, const Bounds& bounds, Search search = Search::exhaustive,
               std::uint64_t seed = 1);
/// One execution by the choices of `schedule`, each step printed to stderr.
Report replay(const Program& program, const Bounds& bounds, const std::string& schedule);
/// As explore, prints one line of figures and on failure the schedule with its steps.
Report run(const Program& program, const Bounds& bounds, Search search = Search::exhaustive);

/// Ends the execution as failed. In an actor or in `check`.
[[noreturn]] void fail(const std::string& why);
inline void require(bool holds, const char* what) {
    if (!holds) fail(what);
}

// For an actor. Outside of one they do nothing.
void step();  // a step that touches nothing, where others may come in and a kill may hit
void await(std::function<bool()> condition);  // of the modelled kernel's state, not of memory
[[noreturn]] void die();         // the process is killed here and buried at once, beyond the bound
void join_actor(int actor);      // waits for its end, and sees what it did
[[nodiscard]] int this_actor();  // -1 outside
[[nodiscard]] int this_process();
[[nodiscard]] bool is_killed(int process);
[[nodiscard]] bool is_buried(int process);
[[nodiscard]] bool is_finished(int actor);
[[nodiscard]] bool is_asleep(int actor);  // in a futex

// The modelled kernel.
constexpr std::uint64_t never = ~std::uint64_t{0};
constexpr std::uint64_t until_buried = never - 1;  // while a killed process waits for its burial
struct FutexWord {
    void* word;
    std::uint32_t seen;
};
enum class Slept { woken, changed, timed_out };
Slept futex_wait(const std::vector<FutexWord>& words, std::uint64_t deadline, std::size_t* which);
int futex_wake(void* word, int count);
/// What the kernel does to a robust futex of a thread that dies: marks it, if it is the thread's,
/// and wakes one sleeper. In `killed` only.
void kernel_mark(void* word, std::uint32_t thread);
/// Locks that end with their process, by number. Taking or finding one free sees what its last
/// holder did.
bool kernel_lock(int lock, int process);
void kernel_unlock(int lock, int process);
bool kernel_is_locked(int lock);
/// Nobody holds any, as at the beginning of an execution.
void kernel_forget();
/// A mutex without owner death.
void mutex_lock(int mutex);
void mutex_unlock(int mutex);
/// The barrier on all CPUs that run one of the reached processes; false where the caller's own
/// is none of them: then on its own CPU only.
bool barrier_everywhere();
/// Modelled time, in ns: moves only when a sleep's deadline passes.
std::uint64_t now();

}  // namespace model
