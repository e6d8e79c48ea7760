local actions = {}
actions["reload-credentials"] = {}
return actions
