// machine.hpp: an arena with processes and threads, as a program of the engine.
//
//   Real       the templates, and of the runtime the pool, hints, lock, value, reaping, waiting,
//              lanes, members and construction, compiled against the engine's atomics
//   Modelled   system calls (futexes, file locks, membarrier, clocks), the process's mutex, the
//              keeper (the kernel marks death words), and that a sleep's cap never ends it: a lost
//              wake-up is a waiter that is stuck
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lagoon/detail/attachment.hpp>
#include <model/engine/engine.hpp>

#include "runtime/attachment.hpp"

namespace model {

namespace detail = lagoon::detail;

/// The process that looks at the end: a member from the beginning, with no actor.
constexpr int inspector = most_processes - 1;

/// LAGOON_OWNERSHIP=biased: every scene that does not say otherwise.
inline bool asked_for_biased() {
    const char* set = std::getenv("LAGOON_OWNERSHIP");
    return set != nullptr && std::string_view{set} == "biased";
}

struct MachineOptions {
    std::uint32_t lanes = 5;             // of threads
    bool light_store = true;             // releases are plain stores; else exchanges
    bool biased = asked_for_biased();    // threads keep idle slots; with light_store alone
    std::vector<int> unregistered = {};  // processes that the kernel's barrier does not reach
};

class Machine {
public:
    Machine(detail::RootType type, MachineOptions options, int processes);

    /// The arena as `arrange` left it, every process a member, no thread with a lane.
    void begin_execution();
    /// Runs `code` at once, as a thread of that actor (-1: of the inspector).
    void as(int actor, int process, const std::function<void()>& code);
    void enter(int actor);
    void killed(int process);
    [[nodiscard]] bool reached(int process) const;
    /// The arena is as this leaves it, for every execution. Once.
    void arrange(const std::function<void()>& code);

    [[nodiscard]] std::byte* root() const;
    [[nodiscard]] detail::Attachment& attachment(int process) const;
    [[nodiscard]] int process_now() const;

private:
    void build(const detail::RootType& type);
    void join_all();

    MachineOptions options_;
    int processes_;
    int process_outside_ = inspector;
    std::uint64_t bytes_ = 0;
    std::vector<std::byte> image_;
};

/// The machine of the program under way.
Machine*& machine();

/// This process becomes a member again, after `leave`.
void join();
/// As a process that closes its last handle: its lanes and its member entry become free.
void leave();
/// The calling thread ends.
void end_thread();

/// A thread that the runtime may start, once, in the process that this is called in; without one it
/// gets none.
void offer_thread();
/// What such a thread does: it waits to be started, as long as `by` may do that, and runs.
void be_started(int by);
/// The runtime starts one.
bool start_thread(void* (*code)(void*), void* argument);

/// Puts a program together.
template <class Root>
class Scene {
public:
    explicit Scene(std::string name, MachineOptions options = {})
        : name_{std::move(name)}, options_{std::move(options)} {}

    /// What the arena is like at first.
    Scene& arranged(std::function<void(Root&)> code) {
        arrange_ = std::move(code);
        return *this;
    }
    /// A thread; `before` runs in it before the first step, to make lanes and caches.
    Scene& actor(std::string name, int process, std::function<void(Root&)> code,
                 std::function<void(Root&)> before = {}) {
        cast_.push_back({std::move(name), process, std::move(code), std::move(before)});
        return *this;
    }
    Scene& mortal(std::vector<int> processes) {
        mortal_ = std::move(processes);
        return *this;
    }
    /// Looks at the end, as the inspector.
    Scene& check(std::function<void(Root&)> code) {
        check_ = std::move(code);
        return *this;
    }

    [[nodiscard]] Program program() const;
    Report run(const Bounds& bounds, Search search = Search::exhaustive) const {
        return model::run(program(), bounds, search);
    }

private:
    struct Part {
        std::string name;
        int process;
        std::function<void(Root&)> code, before;
    };
    std::string name_;
    MachineOptions options_;
    std::vector<Part> cast_;
    std::function<void(Root&)> arrange_, check_;
    std::vector<int> mortal_;
};

template <class Root>
Program Scene<Root>::program() const {
    int processes = 0;
    for (const Part& part : cast_) processes = std::max(processes, part.process + 1);
    detail::RootType type;
    type.bytes = sizeof(Root);
    type.align = alignof(Root);
    type.construct = [](void* where) { ::new (where) Root; };
    auto built = std::make_shared<Machine>(type, options_, processes);
    machine() = built.get();
    const auto root = [built]() -> Root& { return *reinterpret_cast<Root*>(built->root()); };
    built->arrange([&] {
        if (arrange_) arrange_(root());
    });
    Program program;
    program.name = name_;
    program.begin = [built, root, cast = cast_] {
        machine() = built.get();
        built->begin_execution();
        std::vector<Actor> actors;
        for (std::size_t i = 0; i < cast.size(); ++i) {
            const Part& part = cast[i];
            built->as(static_cast<int>(i), part.process, [&] {
                if (part.before) part.before(root());
            });
            actors.push_back({part.name, part.process, [root, &part] { part.code(root()); }});
        }
        return actors;
    };
    program.check = [built, root, check = check_] {
        built->as(-1, inspector, [&] {
            if (check) check(root());
        });
    };
    program.killed = [built](int process) { built->killed(process); };
    program.reached = [built](int process) { return built->reached(process); };
    program.enter = [built](int actor) { built->enter(actor); };
    program.mortal = mortal_;
    return program;
}

}  // namespace model
