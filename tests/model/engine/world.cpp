// world.cpp: one execution after another, and who goes on at every step.
#include "world.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "heap.hpp"

namespace model {

namespace {
constexpr int change_points = 3;  // of priorities, in one execution
}  // namespace

World& world() {
    static World& only = *new World;
    return only;
}

void World::begin_execution() {
    heap::reset();
    memory.begin_execution(bounds_);
    preemptions_left_ = bounds_.preemptions;
    kills_left_ = bounds_.kills;
    steps_ = now_ = 0;
    killed_ = buried_ = {};
    sleepers_.clear();
    forget_locks();
    end_ = End::none;
    heap::belongs_to(heap::Of::execution);
    std::vector<Actor> cast = program_->begin();
    count_ = static_cast<int>(cast.size());
    for (int a = 0; a < most_actors; ++a) {
        ActorState& actor = actors_[a];
        actor.status = a < count_ ? Status::ready : Status::unused;
        actor.yielded = false;
        actor.state = 0;
        if (a >= count_) continue;
        // What the function holds is of this execution: the one of the last is gone already.
        ::new (&actor.code) std::function<void()>{cast[a].code};
        heap::belongs_to(heap::Of::engine);
        actor.name = cast[a].name;
        actor.words.clear();
        actor.process = cast[a].process;
        actor.fiber.restart(&World::run_actor, this);
        heap::belongs_to(heap::Of::execution);
    }
    heap::belongs_to(heap::Of::engine);
    if (search_ == Search::priorities) {
        change_points_.clear();
        for (auto& actor : actors_) actor.priority = change_points + 1 + below(1000);
        for (int i = 0; i < change_points; ++i) change_points_.push_back(below(150));
    }
}

void World::run_actor(void* self) {
    World& world = *static_cast<World*>(self);
    {
        heap::belongs_to(heap::Of::execution);
        world.actors_[world.current_].code();
    }
    heap::belongs_to(heap::Of::engine);
    world.actors_[world.current_].status = Status::finished;
    if (world.traced_) world.tell("has finished");
    world.switch_to(world.pick());
    std::abort();  // nobody resumes it
}

void World::switch_to(int actor) {
    if (actor == current_) return;
    Fiber& from = current_ < 0 ? main_ : actors_[current_].fiber;
    current_ = actor;
    if (program_->enter) program_->enter(actor);
    (actor < 0 ? main_ : actors_[actor].fiber).resume(from);
}

void World::end(End how) {
    end_ = how;
    switch_to(-1);
    std::abort();  // nobody resumes it
}

void World::fail(const std::string& why) {
    heap::belongs_to(heap::Of::engine);
    if (failure_.empty()) failure_ = why;
    if (traced_) tell("FAILS: " + why);
    if (current_ < 0) throw why;  // in `begin` or `check`
    end(End::failed);
}

void World::point() {
    ++figures_.steps;
    if (++steps_ > bounds_.steps) end(End::too_long);
    switch_to(pick());
    observe(0);  // it has gone on
}

void World::yield() {
    actors_[current_].yielded = true;
    point();
    actors_[current_].yielded = false;
}

bool World::is_enabled(int a) {
    const ActorState& actor = actors_[a];
    if (actor.status != Status::awaiting) return actor.status == Status::ready;
    // Asked anew each time: what it waits for may be another's again.
    deciding_ = true;
    const bool holds = (*actor.condition)();
    deciding_ = false;
    return holds;
}

bool World::may_kill(int process) const {
    if (kills_left_ == 0 || killed_[process]) return false;
    bool lives = false;
    for (int a = 0; a < count_; ++a) {
        lives = lives || (actors_[a].process == process && !is_finished(a));
    }
    bool mortal = program_->mortal.empty();
    for (const int one : program_->mortal) mortal = mortal || one == process;
    return lives && mortal;
}

/// What may happen next; the first is what happens unless there is a reason.
void World::list_events() {
    events_.clear();
    const bool goes_on = current_ >= 0 && is_enabled(current_);
    const bool yields = goes_on && actors_[current_].yielded;
    const bool free = !goes_on || yields || free_;
    if (goes_on && !yields) events_.push_back({Event::actor, current_});
    if (free || preemptions_left_ > 0) {
        for (int a = 0; a < count_; ++a) {
            if (a != current_ && is_enabled(a)) events_.push_back({Event::actor, a});
        }
        for (int p = 0; p < most_processes; ++p) {
            if (killed_[p] && !buried_[p]) events_.push_back({Event::burial, p});
        }
        for (int a = 0; a < count_; ++a) {
            const std::uint64_t until = actors_[a].deadline;
            if (actors_[a].status != Status::asleep || until == never) continue;
            if (until != until_buried || nobody_dying()) events_.push_back({Event::deadline, a});
        }
    }
    for (int a = 0; a < count_; ++a) {
        if (memory.has_buffered(a)) events_.push_back({Event::flush, a});
    }
    // Who goes round and round sees nothing new before something else has happened.
    if (events_.empty() && yields) events_.push_back({Event::actor, current_});
    for (int p = 0; p < most_processes; ++p) {
        if (may_kill(p)) events_.push_back({Event::kill, p});
    }
}

int World::pick() {
    for (;;) {
        list_events();
        bool moves = false;
        for (const Event& event : events_) moves = moves || event.kind != Event::kill;
        if (!moves) {
            nobody_can_go_on();
            return -1;
        }
        if (search_ == Search::exhaustive && bounds_.remember && !traced_ && events_.size() > 1 &&
            choices_.is_new() && !seen_.insert(hash())) {
            end(End::seen_before);
        }
        const Event event =
            events_[choices_.take(static_cast<std::uint32_t>(events_.size()), propose())];
        if (event.kind == Event::actor) {
            if (current_ >= 0 && event.who != current_ && is_enabled(current_) &&
                !actors_[current_].yielded && preemptions_left_ > 0) {
                --preemptions_left_;
            }
            return event.who;
        }
        happens(event);
    }
}

void World::happens(Event event) {
    const bool preempts = current_ >= 0 && is_enabled(current_) && preemptions_left_ > 0;
    switch (event.kind) {
        case Event::actor: break;
        case Event::flush:
            if (traced_) tell("(a buffered store of " + actors_[event.who].name + " lands)");
            memory.flush_one(event.who);
            break;
        case Event::deadline:
            if (traced_) tell("(the deadline of " + actors_[event.who].name + " passes)");
            if (actors_[event.who].deadline != until_buried) {
                now_ = std::max(now_, actors_[event.who].deadline);
            }
            actors_[event.who].slept = Slept::timed_out;
            actors_[event.who].status = Status::ready;
            std::erase(sleepers_, event.who);
            if (preempts) --preemptions_left_;
            break;
        case Event::burial:
            bury(event.who);
            if (preempts) --preemptions_left_;
            break;
        case Event::kill:
            --kills_left_;
            kill(event.who);
            break;
    }
}

/// What a search at random takes of `events_`.
std::uint32_t World::propose() {
    if (search_ == Search::exhaustive) return 0;
    const auto count = static_cast<std::uint32_t>(events_.size());
    if (search_ == Search::random) return below(4) != 0 ? 0 : below(count);
    if (below(8) == 0) return below(count);
    for (std::size_t i = 0; i < change_points_.size(); ++i) {
        if (change_points_[i] == steps_ && current_ >= 0) actors_[current_].priority = i;
    }
    std::uint32_t best = 0;
    for (std::uint32_t i = 1; i < count; ++i) {
        if (events_[i].kind != Event::actor) continue;
        if (events_[best].kind != Event::actor ||
            actors_[events_[i].who].priority > actors_[events_[best].who].priority) {
            best = i;
        }
    }
    return best;
}

std::uint32_t World::choose(std::uint32_t count) {
    if (count <= 1) return 0;
    const bool usual = search_ == Search::exhaustive || below(4) != 0;
    return choices_.take(count, usual ? 0 : below(count));
}

std::uint64_t World::hash() const {
    std::uint64_t h = mix(memory.hash(), static_cast<std::uint64_t>(current_ + 1));
    h = mix(h, std::uint64_t{preemptions_left_} << 32 | kills_left_);
    h = mix(h, now_);
    for (int a = 0; a < count_; ++a) {
        const ActorState& actor = actors_[a];
        h = mix(h, actor.state);
        h = mix(h, static_cast<std::uint64_t>(actor.status) * 2 + (actor.yielded ? 1 : 0));
        h = mix(h, memory.hash_of_actor(a));
    }
    for (const int a : sleepers_) h = mix(h, static_cast<std::uint64_t>(a));
    for (const KernelLock& lock : locks_) {
        h = mix(h, static_cast<std::uint64_t>(lock.holder));
        h = mix(h, hash_of(lock.left.clock));
    }
    for (const KernelLock& mutex : mutexes_) h = mix(h, static_cast<std::uint64_t>(mutex.holder));
    std::uint64_t gone = 0;
    for (int p = 0; p < most_processes; ++p) {
        gone = gone * 4 + (killed_[p] ? 2 : 0) + (buried_[p] ? 1 : 0);
    }
    return mix(h, gone);
}

void World::nobody_can_go_on() {
    std::string stuck;
    for (int a = 0; a < count_; ++a) {
        if (!is_finished(a)) stuck += (stuck.empty() ? "" : ", ") + actors_[a].name;
    }
    if (!stuck.empty()) fail("stuck for ever: " + stuck);
    end_ = End::complete;
}

void World::tell(const std::string& line) const {
    const char* who = current_ < 0 ? "end" : actors_[current_].name.c_str();
    std::fprintf(stderr, "%5llu %-10s %s\n", static_cast<unsigned long long>(steps_), who,
                 line.c_str());
}

}  // namespace model
