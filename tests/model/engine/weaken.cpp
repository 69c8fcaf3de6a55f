// weaken.cpp: reads the two variables once, and compares places.
#include "weaken.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "heap.hpp"
#include "world.hpp"

namespace model {

namespace {

struct Change {
    std::string file;
    unsigned first = 0;
    unsigned last = 0;
    Weaker how = Weaker::no;
    std::memory_order order = std::memory_order_seq_cst;
};

Change parse(const std::string& text) {
    Change change;
    const std::size_t lines = text.find(':');
    const std::size_t how = text.find(':', lines + 1);
    if (how == std::string::npos) return change;
    change.file = text.substr(0, lines);
    const std::string range = text.substr(lines + 1, how - lines - 1);
    change.first = static_cast<unsigned>(std::stoul(range));
    const std::size_t dash = range.find('-');
    change.last = dash == std::string::npos
                      ? change.first
                      : static_cast<unsigned>(std::stoul(range.substr(dash + 1)));
    const std::string name = text.substr(how + 1);
    change.how = Weaker::order;
    if (name == "relaxed") change.order = std::memory_order_relaxed;
    if (name == "acquire") change.order = std::memory_order_acquire;
    if (name == "release") change.order = std::memory_order_release;
    if (name == "acq_rel") change.order = std::memory_order_acq_rel;
    if (name == "failure") change.how = Weaker::failure;
    if (name == "torn") change.how = Weaker::torn;
    if (name == "gone") change.how = Weaker::gone;
    return change;
}

Change& change() {
    static Change& only = *new Change{[] {
        const char* text = std::getenv("LAGOON_MODEL_WEAKEN");
        return text != nullptr ? parse(text) : Change{};
    }()};
    return only;
}

/// The calls that were made; written when the process ends.
class Sites {
public:
    Sites() : path_{std::getenv("LAGOON_MODEL_SITES")} {}
    ~Sites() {
        if (path_ == nullptr) return;
        std::FILE* file = std::fopen(path_, "a");
        if (file == nullptr) return;
        for (const auto& [name, line] : seen_) std::fprintf(file, "%s:%u\n", name, line);
        std::fclose(file);
    }
    void note(Site site) {
        if (path_ != nullptr) seen_.emplace(site.file, site.line);
    }

private:
    const char* path_;
    std::set<std::pair<const char*, unsigned>> seen_;
};

Sites& sites() {
    static Sites only;
    return only;
}

}  // namespace

void set_weaker(const std::string& what) { change() = what.empty() ? Change{} : parse(what); }

Weaker weakened(Site site, std::memory_order* order) noexcept {
    sites().note(site);
    const Change& one = change();
    if (one.how == Weaker::no || site.line < one.first || site.line > one.last) return Weaker::no;
    if (!std::string_view{site.file}.ends_with(one.file)) return Weaker::no;
    if (one.how == Weaker::order && order != nullptr) *order = one.order;
    return one.how;
}

}  // namespace model
