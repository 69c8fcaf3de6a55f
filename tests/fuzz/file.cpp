// file.cpp: files that are nearly arenas, opened and used in every way there is.
#include <lagoon/lagoon.hpp>

#include "damage.hpp"
#include "harness.hpp"
#include "operations.hpp"
#include "runtime/attachment.hpp"

namespace fuzz {

const char* const subject = "file";

namespace {

constexpr int most_operations = 12;

Damage damage;

void look(const lagoon::ArenaView& view) {
    (void)view.processes();
    (void)view.name();
    for (const auto& member : view.members()) (void)member.kind.size();
    const auto& any = view.find<lagoon::Counter>("total");
    (void)any.load();
    (void)view.find<lagoon::Value<Wide>>("wide").load();
    (void)view.find<lagoon::ShardedCounter>("many").load();
    (void)view.find<lagoon::Array<int>>("numbers").snapshot();
    (void)view.find<lagoon::Lock>("lock").is_locked();
    (void)view.find<lagoon::Pool<Item>>("some").stats();
}

void use(const lagoon::Arena<Desk>& arena, Input& input) {
    const Guards guards{lagoon::detail::attachment_of(&*arena)->header, arena.bytes()};
    int waits = 2;
    Held held;
    begin_script();
    for (int i = 0; i < most_operations && !input.empty(); ++i) {
        operate(arena, held, input, &waits);
    }
    end_script(held);
}

void open_and_use(Input& input) {
    const std::string& name = damage.name();
    const std::uint64_t how = input.below(8);
    switch (how) {
        case 0:
        case 1:
        case 2: {
            const auto view =
                lagoon::ArenaView::open(name, {.writable = how == 2, .keeper = false});
            damage.require_disjoint();
            look(view);
            break;
        }
        case 3: (void)lagoon::reap(name, {.keeper = false}); break;
        case 4: (void)lagoon::list_arenas(); break;
        case 5:
            use(lagoon::Arena<Desk>::open_or_create(
                    name, {.max_processes = processes, .max_threads = threads, .keeper = false}),
                input);
            break;
        default: {
            const auto arena =
                lagoon::Arena<Desk>::open(name, lagoon::OpenOptions{.keeper = false});
            damage.require_disjoint();
            use(arena, input);
        }
    }
}

}  // namespace

void set_up() { damage.set_up(); }

bool run(const std::uint8_t* bytes, std::size_t size) {
    Input input{bytes, size};
    damage.write_file(input);
    bool opened = false;
    try {
        open_and_use(input);
        opened = true;
    } catch (const lagoon::Error&) {
    }
    damage.remove_file();
    return opened;
}

std::vector<Bytes> seeds() { return damage_seeds(damage); }

}  // namespace fuzz
