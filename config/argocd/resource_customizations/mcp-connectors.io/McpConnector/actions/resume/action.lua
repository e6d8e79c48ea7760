-- Starts the pods again.
obj.spec.suspend = false
return obj
