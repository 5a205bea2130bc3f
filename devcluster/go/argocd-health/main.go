// Command argocd-health runs one of Argo CD's health checks in Lua: it reads Kubernetes objects as JSON from standard
// input, one after the other, and prints for each the health that the script given as its argument finds.
//
// Argo CD embeds the same interpreter. As there, only the base, package and table libraries are open, a script has a
// second, and what it returns must be a table with one of six statuses.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const timeLimit = time.Second

var statuses = []string{"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func newState() (*lua.LState, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	libraries := []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}}
	for _, library := range libraries {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return nil, err
		}
	}
	return state, nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.CreateTable(len(value), 0)
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(value))
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}

func check(script string, object map[string]any) (health, error) {
	state, err := newState()
	if err != nil {
		return health{}, err
	}
	defer state.Close()
	limited, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	state.SetContext(limited)
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	answer, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return health{}, fmt.Errorf("the script returned %s where a table is expected", state.Get(-1).Type())
	}
	found := health{Status: text(answer, "status"), Message: text(answer, "message")}
	if !slices.Contains(statuses, found.Status) {
		return health{}, fmt.Errorf("the script returned status %q, which is none of %v", found.Status, statuses)
	}
	return found, nil
}

func text(table *lua.LTable, key string) string {
	if value, isText := table.RawGetString(key).(lua.LString); isText {
		return string(value)
	}
	return ""
}

func run(path string, in io.Reader, out io.Writer) error {
	script, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	objects, lines := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var object map[string]any
		if err := objects.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading an object: %w", err)
		}
		found, err := check(string(script), object)
		if err != nil {
			return err
		}
		if err := lines.Encode(found); err != nil {
			return err
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: argocd-health SCRIPT.lua < objects.json")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "argocd-health:", err)
		os.Exit(1)
	}
}
