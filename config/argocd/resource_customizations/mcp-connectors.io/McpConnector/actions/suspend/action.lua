-- Takes the pods away and keeps everything else.
obj.spec.suspend = true
return obj
