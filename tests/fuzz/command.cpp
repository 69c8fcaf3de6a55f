// command.cpp: the command `lagoon`, as it is called from a shell, on files that are nearly arenas.
#include <csignal>
#include <cstdlib>
#include <initializer_list>

#include "damage.hpp"
#include "harness.hpp"
#include "runtime/tool/commands.hpp"

namespace fuzz {

const char* const subject = "command";

namespace {

Damage damage;
int call(std::initializer_list<std::string> words) {
    std::vector<std::string> line{"lagoon"};
    line.insert(line.end(), words);
    std::vector<char*> arguments;
    for (auto& word : line) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    return lagoon::tool::run(static_cast<int>(line.size()), arguments.data());
}

}  // namespace

void set_up() { damage.set_up(); }

bool run(const std::uint8_t* bytes, std::size_t size) {
    Input input{bytes, size};
    damage.write_file(input);
    static constexpr const char* members[] = {"total", "many",  "small", "odd",   "wide",
                                              "note",  "table", "lock",  "some",  "few",
                                              "lined", "slots", "lines", "absent"};
    const std::string name = damage.name();
    const std::string member = members[input.below(std::size(members))];
    const std::string index = std::to_string(input.below(6));
    int status = -1;
    // As it was: the command leaves signals blocked that it hands on while it leases.
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    switch (input.below(16)) {
        case 0: status = call({"show", name}); break;
        case 1: status = call({"show", "--json", "--limit", "0", name}); break;
        case 2: status = call({"get", name, member}); break;
        case 3: status = call({"get", "--json", name, "numbers", index}); break;
        case 4: status = call({"get", name, "table"}); break;
        case 5: status = call({"add", name, "total", index}); break;
        case 6: status = call({"add", name, "numbers", "1", index}); break;
        case 7: status = call({"reap", "--json", name}); break;
        case 8: status = call({"ls"}); break;
        case 9: status = call({"lease", "--no-wait", name, member, "--", "true"}); break;
        case 10:
            status =
                call({"lease", "--timeout", "0.001", "--mark-clean", name, member, "--", "true"});
            break;
        case 11: status = call({"rm", name}); break;
        case 12: status = call({"get", name, member, index}); break;
        case 13: status = call({"show", "--json", name}); break;
        case 14: status = call({"lease", "--no-wait", name, "few", "--", "true"}); break;
        default: status = call({"show", "--limit", index, name});
    }
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    damage.remove_file();
    if (status < 0 || status > 2) std::abort();  // a status that is none
    return status == 0;
}

/// One in four: a call of the command takes several milliseconds.
std::vector<Bytes> seeds() {
    std::vector<Bytes> some;
    const auto all = damage_seeds(damage);
    for (std::size_t i = 0; i < all.size(); i += 4) some.push_back(all[i]);
    return some;
}

}  // namespace fuzz
