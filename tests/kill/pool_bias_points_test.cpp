// pool_bias_points_test.cpp: killed at the instructions of lending and giving back a slot that the
// thread keeps, of stealing one, and of ending what others keep.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/stage.hpp"

using lagoon::Ownership;
using rig::Actor;
using rig::Model;
using rig::Operation;
using rig::Stage;

namespace {

void take(Actor& actor) { actor.leases.push_back(actor.desk->pool.acquire()); }
void take_and_give(Actor& actor) { (void)actor.desk->pool.try_acquire(); }
void try_to_take(Actor& actor) { actor.leases.push_back(actor.desk->pool.try_acquire()); }
void give_first(Actor& actor) { actor.leases.front().give_back(); }
void give_last(Actor& actor) { actor.leases.back().give_back(); }
void take_both(Actor& actor) {
    take_and_give(actor);
    take(actor);
    take(actor);
}
int get(Actor& actor) { return actor.desk->pool.acquire() ? 0 : 1; }

/// The test's process keeps all that is idle.
void keep_all(Stage& stage) {
    stage.take_all();
    stage.held.clear();
}
/// It has all but one, which it keeps.
void keep_one(Stage& stage) {
    stage.take_all();
    stage.give_one_back();
}
void closed(Model& model) {
    model.closed = true;
    model.pool.clear();
}
void emptied(Model& model) { model.pool.clear(); }

void sweep(std::vector<Operation> operations) {
    for (Operation& operation : operations) operation.ownership = Ownership::biased;
    rig::sweep_all(operations);
}

}  // namespace

TEST_CASE("kill: at the instructions of lending what the thread keeps", "[kill][process]") {
    sweep({
        {.name = "kept, taken again", .run = try_to_take},
        {.name = "kept, taken and given back", .run = take_and_give},
        {.name = "two kept, both taken",
         .prepare =
             [](Actor& a) {
                 take(a);
                 take(a);
                 a.leases.clear();
             },
         .run =
             [](Actor& a) {
                 try_to_take(a);
                 try_to_take(a);
             }},
        {.name = "kept, and stolen meanwhile",
         .run = try_to_take,
         .ready =
             [](Stage& s) {
                 s.take_all();
                 s.give_one_back();
             }},
    });
}

TEST_CASE("kill: at the instructions of giving back what the thread keeps", "[kill][process]") {
    sweep({
        {.name = "first kept", .prepare = take, .run = give_last},
        {.name = "kept again",
         .prepare =
             [](Actor& a) {
                 take_and_give(a);
                 take(a);
             },
         .run = give_last},
        {.name = "the second of two", .prepare = take_both, .run = give_last},
        {.name = "the first of two", .prepare = take_both, .run = give_first},
        {.name = "kept no more, for a waiter",
         .prepare = take_both,
         .run = give_first,
         .ready = [](Stage& s) { s.take_all(); },
         .waiter = get},
        {.name = "never kept, for a waiter",
         .prepare = take_both,
         .run = give_last,
         .ready = [](Stage& s) { s.take_all(); },
         .waiter = get},
    });
}

TEST_CASE("kill: at the instructions of a theft", "[kill][process]") {
    sweep({
        {.name = "one of four stolen", .run = try_to_take, .ready = keep_all},
        {.name = "the only one stolen", .run = take, .ready = keep_one},
        {.name = "nothing to steal", .run = try_to_take, .ready = [](Stage& s) { s.take_all(); }},
        {.name = "clear of what others keep",
         .run = [](Actor& a) { (void)a.desk->pool.clear(); },
         .ready = keep_all,
         .effect = emptied},
        {.name = "close of what others keep",
         .run = [](Actor& a) { a.desk->pool.close(); },
         .ready = keep_all,
         .effect = closed,
         .fresh = true},
    });
}
